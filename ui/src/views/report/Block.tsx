import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, post, type Schemas } from "../../api/client";
import { ChartCard } from "../../charts/ChartCard";
import type { Kind } from "../../charts/scales";
import { href } from "../../state/url";
import { asCell } from "../columns";
import { Cells } from "../../parts/Cells";
import { One } from "../media/One";

type Fields = Record<string, string>;

/** The lines `name: value` of a block. */
export function fieldsOf(text: string): Fields {
  const found: Fields = {};
  let last = "";
  for (const line of text.split("\n")) {
    const match = /^(\w+):\s?(.*)$/.exec(line);
    if (match) {
      last = match[1]!;
      found[last] = match[2]!;
    } else if (last && line.trim()) found[last] += `\n${line}`;
  }
  return found;
}

/** A live block of a report: curves, table, sql or media. */
export function Block({ text }: { text: string }) {
  const fields = useMemo(() => fieldsOf(text), [text]);
  if ("curves" in fields) return <Curves fields={fields} />;
  if ("table" in fields) return <TableBlock fields={fields} />;
  if ("sql" in fields) return <SqlBlock fields={fields} />;
  if ("media" in fields) return <MediaBlock fields={fields} />;
  return (
    <p class="problem">
      This block has no line that begins with <code>curves:</code>, <code>table:</code>, <code>sql:</code> or <code>media:</code>.
    </p>
  );
}

function asTable(fields: Fields, columns: string[]) {
  return {
    where: fields.where || null,
    experiment: fields.experiment || null,
    order_by: fields.sort || null,
    limit: Math.min(Number(fields.limit) || 20, 1000),
    columns,
  };
}

/** The runs that a block shows now. SQL can name any run, so its runs are not known. */
export async function runsOf(text: string): Promise<string[]> {
  const fields = fieldsOf(text);
  if ("media" in fields) return [(await get<Schemas["Run"]>(`/api/runs/${encodeURIComponent(fields.run ?? "")}`)).id];
  if ("curves" in fields || "table" in fields) return (await post<Schemas["TableAnswer"]>("/api/table", asTable(fields, ["name"]))).ids;
  return [];
}

function useRuns(fields: Fields, columns: string[]): [Schemas["TableAnswer"] | null, string | null] {
  const [table, setTable] = useState<Schemas["TableAnswer"] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    post<Schemas["TableAnswer"]>("/api/table", asTable(fields, columns)).then(
      (found) => {
        setTable(found);
        setProblem(null);
      },
      (error: Error) => setProblem(error.message),
    );
  }, [fields, columns.join()]);
  return [table, problem];
}

function Curves({ fields }: { fields: Fields }) {
  const [table, problem] = useRuns(fields, ["name"]);
  const hovered = useSignal<string | null>(null);
  const cursor = useSignal<number | null>(null);
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  if (problem) return <pre class="problem">{problem}</pre>;
  if (!table) return null;
  const names = new Map(table.ids.map((id, place) => [id, String(table.columns.name?.[place])]));
  return (
    <ChartCard
      metric={fields.curves!.trim()}
      runs={table.ids}
      name={(run) => names.get(run) ?? run}
      settings={{
        axis: fields.x || "step",
        yKind: (fields.y as Kind | undefined) ?? "linear",
        smooth: Number(fields.smooth) || 0,
        zoom,
        onZoom: setZoom,
        hovered,
        cursor,
      }}
      tick={0}
      height={Number(fields.height) || 280}
    />
  );
}

function TableBlock({ fields }: { fields: Fields }) {
  const columns = useMemo(
    () =>
      fields.table!
        .split(",")
        .map((one) => one.trim())
        .filter(Boolean),
    [fields],
  );
  const [table, problem] = useRuns(fields, columns.length ? columns : ["name", "status", "seconds"]);
  if (problem) return <pre class="problem">{problem}</pre>;
  if (!table) return null;
  const names = Object.keys(table.columns);
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.ids.map((id, row) => (
            <tr key={id}>
              {names.map((name) => {
                const cell = asCell(name, table.columns[name]?.[row], null);
                return (
                  <td key={name} style={cell.colour ? { color: `var(${cell.colour})` } : {}}>
                    {name === "name" ? <a href={href(`/run/${id}`)}>{cell.text}</a> : cell.text}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function SqlBlock({ fields }: { fields: Fields }) {
  const [answer, setAnswer] = useState<Schemas["SqlAnswer"] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    post<Schemas["SqlAnswer"]>("/api/sql", { query: fields.sql }).then(setAnswer, (error: Error) => setProblem(error.message));
  }, [fields]);
  if (problem) return <pre class="problem">{problem}</pre>;
  if (!answer) return null;
  return (
    <div class="scroll">
      {answer.note && <p class="notice">{answer.note}</p>}
      <table class="list">
        <thead>
          <tr>
            {answer.columns.map((name) => (
              <th key={name}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {answer.rows.slice(0, 200).map((row, place) => (
            <tr key={place}>
              <Cells row={row} numbers="number left" />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function MediaBlock({ fields }: { fields: Fields }) {
  const [found, setFound] = useState<{ run: string; record: Schemas["MediaRecord"] } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const run = encodeURIComponent(fields.run ?? "");
    get<Schemas["Records"]>(`/api/runs/${run}/records?key=${encodeURIComponent(fields.media!.trim())}`).then(
      ({ records }) => {
        const step = fields.step ? Number(fields.step) : null;
        const record = step === null ? records[records.length - 1] : records.find((one) => one.step === step);
        if (record) setFound({ run: record.run, record });
        else setProblem(`the run has no ${fields.media} at step ${fields.step}`);
      },
      (error: Error) => setProblem(error.message),
    );
  }, [fields]);
  if (problem) return <p class="problem">{problem}</p>;
  return found ? <One record={found.record} /> : null;
}

const STYLE = `body{font:15px/1.55 system-ui,sans-serif;max-width:860px;margin:40px auto;padding:0 20px;color:#1b2027;background:#fff}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;border-bottom:1px solid #e3e7ec;padding:4px 12px 4px 0}
figure{margin:16px 0}figcaption{font-weight:600}img{max-width:100%}pre{background:#f5f6f8;padding:10px;overflow:auto}code{font-family:ui-monospace,monospace}`;

/** A report as one file that needs nothing else: charts become pictures. */
export function offline(title: string, root: HTMLElement): string {
  const copy = root.cloneNode(true) as HTMLElement;
  const drawn = root.querySelectorAll<HTMLCanvasElement>("canvas:not(.overlay)");
  copy.querySelectorAll("canvas.overlay, .tools, .readout").forEach((one) => one.remove());
  copy.querySelectorAll<HTMLCanvasElement>("canvas").forEach((canvas, place) => {
    const source = drawn[place];
    if (!source) return;
    const picture = document.createElement("img");
    const page = document.createElement("canvas");
    page.width = source.width;
    page.height = source.height;
    const context = page.getContext("2d")!;
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, page.width, page.height);
    context.drawImage(source, 0, 0);
    picture.src = page.toDataURL("image/png");
    picture.alt = canvas.closest("[aria-label]")?.getAttribute("aria-label") ?? "";
    canvas.replaceWith(picture);
  });
  copy.querySelectorAll<HTMLElement>("[style]").forEach((one) => one.removeAttribute("style"));
  copy.querySelectorAll("a[href^='/']").forEach((one) => one.setAttribute("href", new URL(one.getAttribute("href")!, document.baseURI).href));
  const head = document.createElement("title");
  head.textContent = title;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">${head.outerHTML}<style>${STYLE}</style></head><body>${copy.innerHTML}</body></html>`;
}
