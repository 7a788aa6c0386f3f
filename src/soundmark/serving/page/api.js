// Requests to the server. Errors are of the class Problem, with one clear message.

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message.replace(/^[a-z]/, (first) => first.toUpperCase()));
    this.status = status; // 0: the server cannot be reached
  }
}

let askForToken = null;
export function onTokenNeeded(ask) { askForToken = ask; }

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached.");
  }
  if (response.status === 401 && askForToken) {
    await askForToken();
    return request(path, options);
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => null);
    throw new Problem(problem?.detail ?? `The server answered with status ${response.status}.`, response.status);
  }
  return response;
}

// The body of an answer; a server that ends before all of it arrived cannot be reached.
const received = (body) => body.catch(() => { throw new Problem("The connection to the server was lost."); });

export async function getJson(path) { return received((await request(path)).json()); }
export async function getBlob(path) { return received((await request(path)).blob()); }
export async function postJson(path, body) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return received((await request(path, options)).json());
}

export async function sendJson(method, path, body = {}) {
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (method !== "DELETE") options.body = JSON.stringify(body);
  return received((await request(path, options)).json());
}

// Let the browser in; return what is wrong, or nothing.
export async function signIn(token) {
  if (!/^[!-~]+$/.test(token)) return "This is not the token of this server.";
  try {
    const response = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    return response.ok ? "" : "This is not the token of this server.";
  } catch {
    return "The server cannot be reached.";
  }
}

export const query = (values) => new URLSearchParams(
  Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));

// Send a file; call onUpdate with each line of the answer.
export async function classify(file, settings, onUpdate, signal) {
  const parameters = query({ ...settings, name: file.name, format: "updates" });
  const response = await request(`/v1/classify?${parameters}`, { method: "POST", body: file, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", last = null;
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Problem("The connection to the server was lost.");
    });
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) onUpdate(last = JSON.parse(line));
  }
  if (last?.kind === "error") throw new Problem(last.detail, 422);
  if (last?.kind !== "result") throw new Problem("The connection to the server was lost.");
}

export async function explain(file, { start, stop }) {
  const parameters = query({ name: file.name, start, stop });
  return (await request(`/v1/explain?${parameters}`, { method: "POST", body: file })).json();
}

export async function convert(results, format) {
  const options = { method: "POST", body: JSON.stringify(results), headers: { "Content-Type": "application/json" } };
  return (await request(`/v1/convert?${query({ format })}`, options)).blob();
}

// Wait until the server answers again.
export async function serverIsBack(signal) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (signal?.aborted) throw new DOMException("stopped", "AbortError");
    try {
      if ((await fetch("/healthz", { cache: "no-store" })).ok) return;
    } catch { /* not yet */ }
  }
}
