/** Read-only links: a token that expires, in the part of the address that browsers do not send. */
import { get, post, type Schemas } from "../api/client";
import { copy, failed, toast } from "./toast";

const DAYS = 30;

/** If the address carries a token, sign in with it, and remove it from the address. */
export async function openShared(): Promise<void> {
  const token = window.location.hash.slice(1);
  if (!token.startsWith("rb_")) return;
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  try {
    await post("/api/session", { password: token });
  } catch (error) {
    toast(`this link is not valid any more: ${(error as Error).message}`, { bad: true });
  }
}

/** Make a link to this view that reads one experiment, or the whole store, for 30 days; it is revoked like a token. */
export function share(experiment: string | null, name: string): Promise<void> {
  return make(name, { experiments: experiment === null ? null : [experiment] }, experiment ?? "the whole store");
}

/** Make a link to this view that reads some runs and documents, and nothing else. */
export function shareOnly(runs: string[], documents: string[], name: string, what: string): Promise<void> {
  return make(name, { only: { runs, documents } }, what);
}

async function make(name: string, limit: Pick<Schemas["NewToken"], "experiments" | "only">, what: string): Promise<void> {
  try {
    const { auth } = await get<Schemas["SessionInfo"]>("/api/session");
    if (auth === "none" || auth === "link") {
      toast("only this machine can open this page; `runbase server` shares it with others", { bad: true });
      return;
    }
    const made = await post<Schemas["MadeToken"]>("/api/tokens", {
      name: `link to ${name}, ${new Date().toISOString().slice(0, 19)}`,
      permissions: ["read"],
      ...limit,
      days: DAYS,
    });
    await copy(`${window.location.href.split("#")[0]}#${made.token}`, `Link that reads ${what} for ${DAYS} days`);
  } catch (error) {
    failed(error);
  }
}
