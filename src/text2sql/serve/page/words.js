// The page's words in English and Chinese, and the language that was chosen.

const WORDS = {
  en: {
    skip: "Skip to the question", database: "Database", theme: "Light or dark", schema: "Schema", history: "History",
    forget: "Clear history", ask_label: "Ask in English or Chinese", samples: "Samples", follow: "Follow-up",
    hint: "Enter asks, Shift+Enter is a new line", stop: "Stop", ask: "Ask", copy: "Copy", copied: "Copied", run: "Run",
    run_hint: "Ctrl+Enter in the SQL", reasoning: "Reasoning", others: "Other answers", table: "Table", chart: "Chart",
    key: "This server asks for a key", go_on: "Continue", thinking: "answering…", running: "running…", stopped: "stopped",
    rows: "{n} rows in {s}", row: "1 row in {s}", more: "the first {n} rows, there are more",
    none: "No rows.", empty: "Write a question first.", repaired: "Repaired: ", issue: "Check: ",
    cut: "The answer was cut: it was longer than the server allows.", no_sql: "The model gave no SQL; ask in other words.",
    share: "{p}% of {n} samples agree", unreachable: "The server cannot be reached; is it running?", null: "NULL",
    chart_of: "Chart of {y} by {x}", placeholder: "For example: how many keepers are there",
  },
  zh: {
    skip: "跳到问题", database: "数据库", theme: "浅色或深色", schema: "表结构", history: "历史",
    forget: "清除历史", ask_label: "用中文或英文提问", samples: "采样数", follow: "追问",
    hint: "回车提问，Shift+回车换行", stop: "停止", ask: "提问", copy: "复制", copied: "已复制", run: "运行",
    run_hint: "在 SQL 中按 Ctrl+回车", reasoning: "推理过程", others: "其他答案", table: "表格", chart: "图表",
    key: "此服务器需要密钥", go_on: "继续", thinking: "正在回答…", running: "正在运行…", stopped: "已停止",
    rows: "{n} 行，用时 {s}", row: "1 行，用时 {s}", more: "仅前 {n} 行，还有更多",
    none: "没有结果行。", empty: "请先写下问题。", repaired: "已修复：", issue: "请检查：",
    cut: "答案过长，已被截断。", no_sql: "模型没有给出 SQL，请换一种说法。",
    share: "{n} 个样本中 {p}% 一致", unreachable: "无法连接服务器，它在运行吗？", null: "NULL",
    chart_of: "按 {x} 的 {y} 图表", placeholder: "例如：how many keepers are there",
  },
};

let language = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";

/** A word of the page, with {names} filled in. */
export function word(name, values = {}) {
  const text = WORDS[language][name] ?? WORDS.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** Put the page's words into its elements. */
export function translate() {
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-word]")) part.textContent = word(part.dataset.word);
  for (const part of document.querySelectorAll("[data-title]")) part.title = word(part.dataset.title);
  const other = document.getElementById("language");
  other.textContent = language === "en" ? "中文" : "English";
  other.lang = language === "en" ? "zh" : "en";
  document.getElementById("question").placeholder = word("placeholder");
}

export function chooseLanguage(chosen) {
  if (chosen in WORDS) language = chosen;
  translate();
}

export const currentLanguage = () => language;
