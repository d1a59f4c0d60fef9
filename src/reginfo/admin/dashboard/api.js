// The HTTP interface: one token, one way to ask, and errors in words that say what to do.

const KEY = "reginfo.token";
const TIMEOUT_MS = 5000;

/** The server did not answer at all. */
export class Unreachable extends Error {}

/** The server answered, and refused. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Take the token out of the fragment, so that neither the address bar nor the history keeps it; true if there was one. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return false;
  history.replaceState(null, "", location.pathname + location.search);
  setToken(given);
  return given !== "";
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const setToken = (token) => sessionStorage.setItem(KEY, token.trim());
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** Return the response to a request with the token; raises Unreachable or Refused. */
export async function send(method, path, { body, headers = {}, signal = AbortSignal.timeout(TIMEOUT_MS) } = {}) {
  const all = new Headers(headers);
  // What no header may hold was no token; the server says so.
  const token = (sessionStorage.getItem(KEY) ?? "").replace(/[^\x21-\x7e]/g, "");
  all.set("Authorization", `Bearer ${token}`);
  if (body !== undefined) all.set("Content-Type", "application/json");
  let response;
  try {
    response = await fetch(path, {
      method, headers: all, signal, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Unreachable("The server does not answer.", { cause: error });
  }
  if (!response.ok) throw new Refused(response.status, await explanation(method, response));
  return response;
}

/** Return the JSON that answers a request, null if there is none. */
export async function ask(method, path, options) {
  const response = await send(method, path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    throw new Unreachable("The answer of the server ended too early.", { cause: error });
  }
}

/** Return a path with each part escaped. */
export const path = (...parts) => `/api/v1/${parts.map(encodeURIComponent).join("/")}`;

async function explanation(method, response) {
  let detail = "";
  try {
    detail = (await response.json()).detail ?? "";
  } catch {
    // Not a problem document; the status has to do.
  }
  switch (response.status) {
    case 401: return "The server does not accept this token.";
    case 429: return "The server is asked too often; try again in a moment.";
    case 503: return `${method === "GET" ? "The server cannot answer this now." : "The server takes no changes now; nothing was changed."}` +
      (detail ? ` It says: ${detail}.` : "");
  }
  if (response.status >= 500) return "The server failed on this; its log says why.";
  return detail ? `${detail.charAt(0).toUpperCase()}${detail.slice(1).replace(/\.$/, "")}.` : `The server refused this (${response.status}).`;
}
