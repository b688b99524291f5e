/** Light or dark: as the system says, unless chosen. Canvases ask here for the colours of the style sheet. */
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const media = window.matchMedia("(prefers-color-scheme: dark)");
export const theme = signal<Theme>((localStorage.getItem("theme") as Theme | null) ?? "auto");
/** Counts changes of the colours, so that canvases draw again. */
export const colours = signal(0);

const known = new Map<string, string>();

effect(() => {
  const chosen = theme.value;
  if (chosen === "auto") localStorage.removeItem("theme");
  else localStorage.setItem("theme", chosen);
  document.documentElement.style.colorScheme = chosen === "auto" ? "light dark" : chosen;
  known.clear();
  colours.value = colours.peek() + 1;
});
media.addEventListener("change", () => {
  known.clear();
  colours.value = colours.peek() + 1;
});

let probe: HTMLElement | null = null;

/** A colour of the style sheet, such as `--ink`, as text that a canvas understands. */
export function colour(name: string): string {
  let found = known.get(name);
  if (found === undefined) {
    if (probe === null) {
      probe = document.createElement("span");
      probe.hidden = true;
      document.body.append(probe);
    }
    probe.style.color = `var(${name})`;
    found = getComputedStyle(probe).color;
    known.set(name, found);
  }
  return found;
}

export function isDark(): boolean {
  return theme.value === "dark" || (theme.value === "auto" && media.matches);
}
