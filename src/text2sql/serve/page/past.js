// What was asked before, and choices such as the theme: kept in this browser, and nowhere else.

const MOST = 50;

export function load(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`text2sql.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function save(name, value) {
  try {
    localStorage.setItem(`text2sql.${name}`, JSON.stringify(value));
  } catch {
    // a browser that keeps nothing: the page works, and forgets
  }
}

export function remember(entry) {
  const others = load("history", []).filter((old) => old.question !== entry.question || old.database !== entry.database);
  save("history", [entry, ...others].slice(0, MOST));
}
