// The page: what happens when somebody asks, edits, runs, or chooses.

import { CodeJar } from "./vendor/codejar.js";
import { load, remember, save } from "./past.js";
import { ask, get, post, ServerError } from "./server.js";
import { asCsv, chartOf, drawChart, make, showSchema, showTable } from "./show.js";
import { chooseLanguage, currentLanguage, word } from "./words.js";

const $ = (id) => document.getElementById(id);
const databases = new Map();
let editor = null;
let turns = [];
let asking = null;
let result = null;
let shape = null;

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function warn(error) {
  const known = error instanceof ServerError;
  $("banner").textContent = known && error.kind === "unreachable" ? word("unreachable") : error.message;
  $("banner").hidden = false;
  if (!known) throw error;
}

function note(text, bad = false) {
  $("notes").append(make("li", text, bad ? "bad" : ""));
}

async function chooseDatabase(name) {
  if (!databases.has(name)) return;
  $("database").value = name;
  save("database", name);
  const chosen = databases.get(name);
  showSchema($("tables"), chosen.tables);
  $("examples").replaceChildren(...chosen.questions.map((text) => {
    const chip = make("button", text);
    chip.type = "button";
    chip.onclick = () => { newConversation(); $("question").value = text; submit(); };
    return chip;
  }));
  newConversation();
}

function newConversation() {
  turns = [];
  $("follows").checked = false;
  $("follow").hidden = true;
}

async function submit() {
  const question = $("question").value.trim();
  if (!question) {
    $("question").focus();
    return say(word("empty"));
  }
  asking?.abort();
  const mine = asking = new AbortController();
  const database = $("database").value;
  const history = !$("follow").hidden && $("follows").checked ? turns : [];
  start(question);
  let heard = "";
  try {
    const body = { question, database, history, n: Number($("samples").value), execute: true };
    const answer = await ask(body, mine.signal, (piece) => {
      heard += piece;
      editor.updateCode(heard, false);
    });
    if (!answer.sql) return say(word("no_sql"));
    showAnswer(answer, Number($("samples").value));
    turns = [...history, { question, sql: answer.sql }].slice(-8);
    $("follow").hidden = false;
    remember({ question, database, sql: answer.sql });
    showPast();
  } catch (error) {
    if (error.name === "AbortError") return say(word("stopped"));
    say("");
    warn(error);
  } finally {
    if (asking === mine) {
      asking = null;
      $("stop").hidden = true;
      $("send").disabled = false;
    }
  }
}

function start(question) {
  $("banner").hidden = true;
  $("answer").hidden = false;
  $("asked").textContent = question;
  $("notes").replaceChildren();
  for (const part of ["reasoning", "others", "result"]) $(part).hidden = true;
  $("stop").hidden = false;
  $("send").disabled = true;
  editor.updateCode("", false);
  say(word("thinking"), true);
}

function showAnswer(answer, samples) {
  editor.updateCode(answer.sql, false);
  say(answer.share === null ? "" : word("share", { p: Math.round(answer.share * 100), n: samples }));
  for (const text of answer.repairs) note(word("repaired") + text);
  for (const text of answer.issues) note(word("issue") + text);
  if (answer.cut) note(word("cut"), true);
  $("reasoning").hidden = !answer.reasoning;
  $("reasoning").querySelector("p").textContent = answer.reasoning;
  $("others").hidden = !answer.alternatives.length;
  $("others").querySelector("ul").replaceChildren(...answer.alternatives.map((other) => {
    const line = make("li");
    const button = make("button", `${Math.round(other.share * 100)}%  ${other.sql || "—"}`);
    button.type = "button";
    button.onclick = () => { editor.updateCode(other.sql, false); run(); };
    line.append(button);
    return line;
  }));
  if (answer.execution_error) note(answer.execution_error.message, true);
  if (answer.result) showResult(answer.result);
}

function showResult(rows) {
  result = rows;
  shape = chartOf(rows);
  $("result").hidden = false;
  showTable($("table"), rows);
  const count = word(rows.rows.length === 1 ? "row" : "rows", { n: rows.rows.length, s: duration(rows.seconds) });
  $("count").textContent = rows.truncated ? word("more", { n: rows.rows.length }) : count;
  $("tab-chart").hidden = !shape;
  tab("table");
}

function duration(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}

async function run() {
  $("notes").replaceChildren();
  $("banner").hidden = true;
  say(word("running"), true);
  try {
    showResult(await post("/v1/sql", { database: $("database").value, sql: editor.toString() }));
  } catch (error) {
    $("result").hidden = true;
    if (error instanceof ServerError && error.kind.startsWith("sql_")) note(error.message, true);
    else warn(error);
  } finally {
    say("");
  }
}

function tab(name) {
  for (const each of ["table", "chart"]) {
    $(each).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
  }
  if (name === "chart") drawChart($("chart").querySelector("canvas"), result, shape);
}

function showPast() {
  const past = load("history", []).filter((entry) => databases.has(entry.database));
  $("forget").hidden = !past.length;
  $("past").replaceChildren(...past.map((entry) => {
    const line = make("li");
    const button = make("button", entry.question);
    button.type = "button";
    button.append(make("small", entry.database));
    button.onclick = () => {
      chooseDatabase(entry.database);
      start(entry.question);
      $("stop").hidden = true;
      $("send").disabled = false;
      $("question").value = entry.question;
      editor.updateCode(entry.sql, false);
      run();
    };
    line.append(button);
    return line;
  }));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  if (!$("chart").hidden) tab("chart");
}

function wire() {
  editor = CodeJar($("sql"), (part) => Prism.highlightElement(part), { tab: "  ", addClosing: false });
  $("ask").onsubmit = (event) => { event.preventDefault(); submit(); };
  $("question").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  };
  $("sql").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); event.stopImmediatePropagation(); run(); }
    if (event.key === "Escape") $("run").focus();
  }, true);
  document.onkeydown = (event) => {
    if (event.key === "Escape" && asking) asking.abort();
    const writes = /^(TEXTAREA|INPUT|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (event.key === "/" && !writes) { event.preventDefault(); $("question").focus(); }
  };
  $("stop").onclick = () => asking?.abort();
  $("run").onclick = run;
  $("copy").onclick = async () => { await navigator.clipboard.writeText(editor.toString()); say(word("copied")); };
  $("save").onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([asCsv(result)], { type: "text/csv" }));
    link.download = "result.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  $("database").onchange = () => chooseDatabase($("database").value);
  $("tab-table").onclick = () => tab("table");
  $("tab-chart").onclick = () => tab("chart");
  $("forget").onclick = () => { save("history", []); showPast(); };
  $("language").onclick = () => {
    chooseLanguage(currentLanguage() === "en" ? "zh" : "en");
    save("language", currentLanguage());
  };
  $("theme").onclick = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    theme(next);
    save("theme", next);
  };
}

async function open() {
  wire();
  chooseLanguage(load("language", currentLanguage()));
  theme(load("theme", matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  if (matchMedia("(max-width: 800px)").matches) $("schema").open = $("history").open = false;
  try {
    for (const database of (await get("/v1/databases")).databases) databases.set(database.name, database);
    $("database").replaceChildren(...[...databases.keys()].map((name) => make("option", name)));
    const first = [...databases.values()].find((database) => database.questions.length) ?? [...databases.values()][0];
    const last = load("database", "");
    await chooseDatabase(databases.has(last) ? last : first.name);
    showPast();
    await get("/readyz");
  } catch (error) {
    warn(error);
  }
}

open();
