/** The URL is the state of the page: the path is the view, the query its settings. */
import { computed, signal } from "@preact/signals";

const base = new URL(document.baseURI).pathname;

function read() {
  const path = window.location.pathname;
  return {
    path: `/${path.startsWith(base) ? path.slice(base.length) : path.replace(/^\//, "")}`,
    search: window.location.search,
  };
}

const place = signal(read());
export const path = computed(() => place.value.path);
export const params = computed(() => new URLSearchParams(place.value.search));

window.addEventListener("popstate", () => {
  place.value = read();
});

/** The address of a path of the page, below the base of the document. */
export function href(to: string): string {
  return base + to.replace(/^\//, "");
}

export function go(to: string, options: { replace?: boolean } = {}): void {
  const target = href(to);
  if (target === window.location.pathname + window.location.search) return;
  if (options.replace) window.history.replaceState(null, "", target);
  else window.history.pushState(null, "", target);
  place.value = read();
}

/** Change parameters of the query; null and "" remove one. */
export function setParams(changes: Record<string, string | null>, options: { replace?: boolean } = {}): void {
  const next = new URLSearchParams(place.value.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(key);
    else next.set(key, value);
  }
  const found = next.toString();
  go(place.value.path + (found ? `?${found}` : ""), options);
}

export function param(key: string): string {
  return params.value.get(key) ?? "";
}
