// Rows as a table and as a chart, and the schema. Text of databases and models goes through textContent only.

import { word } from "./words.js";

let drawn = null;

/** A new element with text. */
export function make(tag, text = "", name = "") {
  const part = document.createElement(tag);
  part.textContent = text;
  if (name) part.className = name;
  return part;
}

export function showSchema(place, tables) {
  place.replaceChildren(...tables.map((table) => {
    const box = document.createElement("details");
    box.open = tables.length <= 6;
    const list = document.createElement("ul");
    for (const column of table.columns) {
      const line = make("li");
      const name = make("span", column.name);
      if (column.primary_key) name.prepend(make("span", "● ", "mark"));
      if (column.references) name.append(make("small", ` → ${column.references}`));
      line.append(name, make("small", column.type.toLowerCase()));
      list.append(line);
    }
    box.append(make("summary", table.name), list);
    return box;
  }));
}

export function showTable(place, result) {
  if (!result.rows.length) {
    place.replaceChildren(make("p", word("none"), "bar"));
    return;
  }
  const numeric = result.columns.map((_, at) => result.rows.every((row) => row[at] === null || typeof row[at] === "number"));
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  result.columns.forEach((name, at) => {
    const cell = make("th", name, numeric[at] ? "number" : "");
    cell.scope = "col";
    head.append(cell);
  });
  const body = table.createTBody();
  for (const row of result.rows) {
    const line = body.insertRow();
    row.forEach((value, at) => {
      line.append(value === null ? make("td", word("null"), "null") : make("td", String(value), numeric[at] ? "number" : ""));
    });
  }
  place.replaceChildren(table);
}

/** Which columns make a chart: labels, and numbers that are not keys; null where rows do not suit one. */
export function chartOf(result) {
  const { columns, rows } = result;
  if (rows.length < 2 || rows.length > 60 || columns.length < 2) return null;
  const isNumber = (at) => rows.every((row) => row[at] === null || typeof row[at] === "number") && rows.some((row) => row[at] !== null);
  const isKey = (at) => /(^|_)id$/i.test(columns[at]);
  const isYear = (at) => /year|年/i.test(columns[at]) && isNumber(at);
  const places = columns.map((_, at) => at);
  const label = places.find((at) => isYear(at) || (!isNumber(at) && new Set(rows.map((row) => row[at])).size > rows.length / 2));
  const values = places.filter((at) => at !== label && isNumber(at) && !isKey(at)).slice(0, 4);
  if (label === undefined || !values.length) return null;
  const dates = rows.every((row) => /^\d{4}(-\d\d)*$/.test(String(row[label])));
  return { label, values, line: isYear(label) || dates };
}

export function drawChart(canvas, result, shape) {
  drawn?.destroy();
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const colours = ["--main", "--string", "--number", "--key"].map(colour);
  const rows = shape.line ? [...result.rows].sort((a, b) => (a[shape.label] < b[shape.label] ? -1 : 1)) : result.rows;
  Chart.defaults.color = colour("--soft");
  Chart.defaults.borderColor = colour("--line");
  drawn = new Chart(canvas, {
    type: shape.line ? "line" : "bar",
    data: {
      labels: rows.map((row) => String(row[shape.label] ?? "NULL")),
      datasets: shape.values.map((at, number) => ({
        label: result.columns[at], data: rows.map((row) => row[at]), backgroundColor: colours[number], borderColor: colours[number],
        borderRadius: 4, maxBarThickness: 56,
      })),
    },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false,
      plugins: { legend: { display: shape.values.length > 1 } },
      scales: {
        x: { title: { display: true, text: result.columns[shape.label] }, grid: { display: false } },
        y: { beginAtZero: true, title: { display: shape.values.length === 1, text: result.columns[shape.values[0]] } },
      },
    },
  });
  canvas.setAttribute("aria-label", word("chart_of", {
    x: result.columns[shape.label], y: shape.values.map((at) => result.columns[at]).join(", "),
  }));
}

/** Rows as a CSV file (RFC 4180). */
export function asCsv(result) {
  const field = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [result.columns, ...result.rows].map((row) => row.map(field).join(",")).join("\r\n");
}
