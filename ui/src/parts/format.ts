/** How values look: short, and the same everywhere. */

/** A number with up to five significant digits. */
export function number(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return grouped(value);
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? trimmed(value.toExponential(3)) : trimmed(value.toPrecision(5));
  return text.replace("-", "−").replace("e−", "e-").replace("e+", "e");
}

function grouped(value: number): string {
  const text = String(Math.abs(value));
  const shown = text.length > 4 ? text.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009") : text;
  return value < 0 ? `−${shown}` : shown;
}

function trimmed(text: string): string {
  const [digits = "", power] = text.split("e");
  const short = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
  return power === undefined ? short : `${short}e${power}`;
}

export function duration(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago a moment was. */
export function ago(moment: string | number | Date, now = Date.now()): string {
  const seconds = (now - new Date(moment).getTime()) / 1000;
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 86_400 * 60) return `${Math.floor(seconds / 86_400)} days ago`;
  return new Date(moment).toLocaleDateString();
}

export function moment(value: string | number | Date): string {
  const date = new Date(value);
  const two = (part: number) => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

const SPECIAL: Record<string, number> = { NaN: Number.NaN, Infinity: Infinity, "-Infinity": -Infinity };

/** The number that a value of an answer is: JSON has no NaN, so the server sends it as text. */
export function asNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  return typeof value === "string" ? (SPECIAL[value] ?? null) : null;
}

export function value(any: unknown): string {
  if (any === null || any === undefined) return "";
  if (typeof any === "number") return number(any);
  if (typeof any === "boolean") return any ? "true" : "false";
  if (typeof any === "string") return any;
  return JSON.stringify(any);
}

export function plural(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}
