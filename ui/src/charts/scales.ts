/** Scales of charts: linear, logarithmic and symmetric logarithmic, with ticks. From d3-scale. */
import { scaleLinear, scaleLog, scaleSymlog } from "d3-scale";
import { duration, number } from "../parts/format";

export type Kind = "linear" | "log" | "symlog";

export interface Scale {
  (value: number): number;
  invert(place: number): number;
  ticks(count?: number): number[];
  domain(): number[];
}

export function makeScale(kind: Kind, domain: [number, number], range: [number, number]): Scale {
  let [low, high] = domain;
  if (low === high) {
    const room = Math.abs(low) * 0.1 || 1;
    low -= kind === "log" ? low / 2 : room;
    high += room;
  }
  if (kind === "log") return scaleLog().domain([low, high]).range(range);
  if (kind === "symlog") {
    const size = Math.max(Math.abs(low), Math.abs(high));
    return scaleSymlog().constant(size / 1000 || 1).domain([low, high]).range(range) as unknown as Scale;
  }
  return scaleLinear().domain([low, high]).range(range);
}

/** Ticks with their labels; of a logarithmic axis only as many as have room. */
export function ticks(scale: Scale, kind: Kind, count: number): { value: number; label: string }[] {
  let values = scale.ticks(count);
  if (kind === "log" && values.length > count * 1.5) {
    const decades = values.filter((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9);
    const step = Math.ceil(decades.length / count);
    if (decades.length >= 2) values = decades.filter((_, index) => index % step === 0);
    else values = values.filter((_, index) => index % Math.ceil(values.length / count) === 0);
  }
  return values.map((value) => ({ value, label: tickLabel(value) }));
}

export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e4 && size < 1e15) {
    const [unit, name] = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : [1e3, "k"];
    return `${number(value / unit)}${name}`;
  }
  return number(Number(value.toPrecision(12)));
}

/** The label of an x value: of times, a clock; of times since the start, a duration. */
export function xLabel(axis: string, value: number): string {
  if (axis === "relative") return duration(value);
  if (axis === "time") {
    const date = new Date(value * 1000);
    return date.toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  }
  return tickLabel(value);
}

/** Ticks of an x axis. Times have round minutes and hours. */
export function xTicks(scale: Scale, axis: string, count: number): { value: number; label: string }[] {
  if (axis !== "time" && axis !== "relative") return ticks(scale, "linear", count);
  const [low = 0, high = 1] = scale.domain();
  const steps = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
  ];
  const step = steps.find((one) => (high - low) / one <= count) ?? (high - low) / count;
  const found: { value: number; label: string }[] = [];
  const shift = axis === "time" ? new Date(low * 1000).getTimezoneOffset() * 60 : 0;
  for (let value = Math.ceil((low - shift) / step) * step + shift; value <= high; value += step) {
    let label = value === 0 ? "0" : duration(value);
    if (axis === "time") {
      const date = new Date(value * 1000);
      label =
        step >= 43_200
          ? date.toLocaleDateString(undefined, { month: "short", day: "numeric" })
          : date.toLocaleTimeString(undefined, {
              hour: "2-digit",
              minute: "2-digit",
              hourCycle: "h23",
              ...(step < 60 ? { second: "2-digit" } : {}),
              ...(step < 1 ? { fractionalSecondDigits: step < 0.1 ? 2 : 1 } : {}),
            });
    }
    found.push({ value, label });
  }
  return found;
}
