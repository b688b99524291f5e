/** The part of a canvas' context that charts use, which writes SVG instead. */

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const short = (value: number) => String(Math.round(value * 100) / 100);

export class SvgContext {
  strokeStyle = "#000";
  fillStyle = "#000";
  lineWidth = 1;
  lineJoin = "miter";
  globalAlpha = 1;
  font = "11px monospace";
  textAlign: CanvasTextAlign = "left";
  textBaseline: CanvasTextBaseline = "alphabetic";
  private parts: string[] = [];
  private path: string[] = [];
  private dash: number[] = [];
  private clipped = 0;
  private readonly ruler = document.createElement("canvas").getContext("2d")!;

  clearRect(): void {
    this.parts = [];
  }
  beginPath(): void {
    this.path = [];
  }
  closePath(): void {
    this.path.push("Z");
  }
  moveTo(x: number, y: number): void {
    this.path.push(`M${short(x)} ${short(y)}`);
  }
  lineTo(x: number, y: number): void {
    this.path.push(`L${short(x)} ${short(y)}`);
  }
  rect(x: number, y: number, width: number, height: number): void {
    this.path.push(`M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}Z`);
  }
  arc(x: number, y: number, radius: number): void {
    const [r, d] = [short(radius), short(2 * radius)];
    this.path.push(`M${short(x - radius)} ${short(y)}a${r} ${r} 0 1 0 ${d} 0a${r} ${r} 0 1 0 -${d} 0`);
  }
  setLineDash(dash: number[]): void {
    this.dash = dash;
  }
  save(): void {
    // clip opens a group, restore closes it
  }
  clip(): void {
    const id = `clip-${Math.random().toString(36).slice(2)}`;
    this.parts.push(`<clipPath id="${id}"><path d="${this.path.join("")}"/></clipPath><g clip-path="url(#${id})">`);
    this.clipped++;
  }
  restore(): void {
    if (this.clipped) this.parts.push("</g>");
    this.clipped = Math.max(this.clipped - 1, 0);
  }
  stroke(): void {
    if (!this.path.length) return;
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    this.parts.push(
      `<path d="${this.path.join("")}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}" stroke-opacity="${short(this.globalAlpha)}"${dash}/>`,
    );
  }
  fill(): void {
    if (!this.path.length) return;
    this.parts.push(`<path d="${this.path.join("")}" fill="${this.fillStyle}" fill-opacity="${short(this.globalAlpha)}"/>`);
  }
  fillText(text: string, x: number, y: number): void {
    const anchor = { left: "start", start: "start", center: "middle", right: "end", end: "end" }[this.textAlign];
    const baseline = { top: "hanging", middle: "central" }[this.textBaseline as string] ?? "alphabetic";
    this.parts.push(`<text x="${short(x)}" y="${short(y)}" text-anchor="${anchor}" dominant-baseline="${baseline}" fill="${this.fillStyle}">${escape(text)}</text>`);
  }
  measureText(text: string): { width: number } {
    this.ruler.font = this.font;
    return this.ruler.measureText(text);
  }

  /** The picture. */
  finish(width: number, height: number, title: string): string {
    const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">`;
    return `${open}<title>${escape(title)}</title><rect width="${width}" height="${height}" fill="#fff"/>${this.parts.join("")}</svg>`;
  }
}
