/** Charts as files and as code. */
import type { Curve } from "../api/curves";
import { drawChart } from "./draw";
import { colourOf, dashOf } from "./palette";
import type { Kind } from "./scales";
import { SvgContext } from "./svg";

export function save(name: string, data: BlobPart, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([data], { type }));
  link.download = name.replaceAll("/", "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function savePng(root: HTMLElement | null, name: string): void {
  const canvas = root?.querySelector("canvas");
  if (!canvas) return;
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  const context = copy.getContext("2d")!;
  context.fillStyle = getComputedStyle(root!).backgroundColor;
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  copy.toBlob((blob) => blob && save(`${name}.png`, blob, "image/png"));
}

/** A chart as SVG, on white. */
export function asSvg(title: string, curves: Curve[], domain: [number, number], axis: string, yKind: Kind, smooth: number): string {
  const [width, height] = [720, 320];
  const context = new SvgContext();
  drawChart(context as unknown as CanvasRenderingContext2D, width, height, curves, {
    axis,
    xKind: "linear",
    yKind,
    domain,
    smooth,
    ink: "#5c6672",
    faint: "#e9ecf0",
    look: (run) => ({ colour: colourOf(run, false), dash: dashOf(run) }),
    yRange: null,
  });
  return context.finish(width, height, title);
}

export function asCsv(curves: Curve[], name: (run: string) => string, axis: string): string {
  const cell = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [`run,${cell(axis)},min,max`];
  for (const curve of curves) {
    for (let i = 0; i < curve.x.length; i++) {
      if (curve.form === "grid" && Number.isNaN(curve.low[i]!)) continue;
      lines.push(`${cell(name(curve.run))},${curve.x[i]},${curve.low[i]},${curve.high[i]}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

export function asPython(metric: string, runs: string[]): string {
  const ids = runs.slice(0, 20).map((run) => `    "${run}",`);
  return [
    "import runbase",
    "",
    `store = runbase.open("${new URL(document.baseURI).origin}")`,
    "runs = [",
    ...ids,
    "]",
    `figure = store.plot(${JSON.stringify(metric)}, runs)`,
    "",
  ].join("\n");
}

/** Rows as CSV. */
export function asText(columns: string[], rows: unknown[][]): string {
  const cell = (any: unknown) => {
    const text = any === null || any === undefined ? "" : typeof any === "object" ? JSON.stringify(any) : String(any);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}
