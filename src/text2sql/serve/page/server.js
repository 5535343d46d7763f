// The API as the page uses it: JSON, server-sent events, and the key where one is asked for.

export class ServerError extends Error {}

async function send(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  let reply;
  try {
    reply = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body), signal } : { headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new ServerError("unreachable"), { kind: "unreachable" });
  }
  if (reply.status === 401) {
    await askKey();
    return send(path, body, signal);
  }
  if (!reply.ok) throw failure((await reply.json().catch(() => ({}))).error, reply.status);
  return reply;
}

function failure(error, status) {
  return Object.assign(new ServerError(error?.message ?? `HTTP ${status}`), { kind: error?.type ?? "unknown" });
}

function askKey() {
  const dialog = document.getElementById("key");
  const field = document.getElementById("secret");
  field.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", field.value);
      done();
    }, { once: true });
  });
}

export async function get(path) {
  return (await send(path)).json();
}

export async function post(path, body, signal) {
  return (await send(path, body, signal)).json();
}

/** Ask with streaming: `heard` gets pieces of the model's text; returns the whole answer. */
export async function ask(body, signal, heard) {
  const reply = await send("/v1/text2sql", { ...body, stream: true }, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw Object.assign(new ServerError("unreachable"), { kind: "unreachable" });
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? [];
      if (name === "delta") heard(JSON.parse(data).text);
      if (name === "error") throw failure(JSON.parse(data), 200);
      if (name === "result") return JSON.parse(data);
    }
  }
}
