/** Calls of the HTTP API. Paths are relative to the base of the document, so that the page works below any path. */
import { signal } from "@preact/signals";
import type { components } from "./schema";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];

/** Whether the last call reached the server. */
export const reachable = signal(true);
/** Whether the server asked for a sign-in. */
export const signInNeeded = signal(false);

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

export function url(path: string): string {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

async function send(method: string, path: string, body?: unknown, abort?: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url(path), {
      method,
      signal: abort ?? null,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
  } catch (error) {
    if ((error as Error).name !== "AbortError") reachable.value = false;
    throw error;
  }
  reachable.value = true;
  if (answer.ok) return answer;
  if (answer.status === 401) signInNeeded.value = true;
  let problem: Problem;
  try {
    problem = (await answer.json()) as Problem;
  } catch {
    problem = { title: answer.statusText, status: answer.status, detail: `HTTP status ${answer.status}`, type: "", error: "", where: null };
  }
  throw new ApiError(problem);
}

export async function call<T>(method: string, path: string, body?: unknown, abort?: AbortSignal): Promise<T> {
  return (await (await send(method, path, body, abort)).json()) as T;
}

export const get = <T>(path: string, abort?: AbortSignal) => call<T>("GET", path, undefined, abort);
export const post = <T>(path: string, body: unknown, abort?: AbortSignal) => call<T>("POST", path, body, abort);

export async function binary(path: string, body: unknown, abort?: AbortSignal): Promise<ArrayBuffer> {
  return (await send("POST", path, body, abort)).arrayBuffer();
}

export async function text(path: string, abort?: AbortSignal): Promise<string> {
  return (await send("GET", path, undefined, abort)).text();
}

/** A query string of the parameters that have a value. */
export function query(params: Record<string, string | number | boolean | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") search.set(key, String(value));
  }
  const found = search.toString();
  return found ? `?${found}` : "";
}

/** A key as it stands in filters and names of columns: quoted unless it is a plain word. */
export function quoted(key: string): string {
  return /^[A-Za-z_]\w*$/.test(key) ? key : `"${key.replaceAll('"', '""')}"`;
}

export function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
