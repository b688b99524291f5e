import { useSignal } from "@preact/signals";
import { useMemo, useState } from "preact/hooks";
import { url, type Schemas } from "../../api/client";
import { number, plural, value } from "../../parts/format";
import { Plot } from "./Plot";
import { Markdown } from "../../parts/Markdown";
import { param, setParams } from "../../state/url";
import { Against, comparable } from "../media/Against";
import { Frame, LinkedZoom, Picture, ZoomButtons } from "../media/Picture";
import { StepSlider, useSteps } from "../media/steps";
import type { RunRecord } from "../Run";
import { Ridgeline, type HistogramValue } from "./Ridgeline";

export type MediaRecord = Schemas["MediaRecord"];

/** How a record of a run is compared: with the one before it, or with the first one. */
const AGAINST: [string, string][] = [
  ["", "nothing"],
  ["previous", "the previous step"],
  ["first", "the first step"],
];

/** Images, audio, video, tables, histograms and texts, each by its steps, with one slider for all. */
export function Media({ run, records, more }: { run: RunRecord; records: MediaRecord[]; more: boolean }) {
  const groups = useMemo(() => {
    const found = new Map<string, MediaRecord[]>();
    for (const one of records) found.set(one.key, [...(found.get(one.key) ?? []), one]);
    return [...found];
  }, [records]);
  const steps = useSteps(records);
  const divider = useSignal(0.5);
  const against = param("with");
  const hasImages = records.some(isPicture);
  if (!groups.length) return <p class="soft centre">This run logged no images, tables, histograms or texts.</p>;

  function body(items: MediaRecord[]) {
    if (items[0]!.kind === "histogram") return <Ridgeline records={items} step={steps.step} />;
    const record = at(items, steps.step);
    const base = against === "first" ? items[0]! : against === "previous" ? (items[items.indexOf(record) - 1] ?? null) : null;
    if (base === record || !comparable(base, record)) return <One record={record} />;
    return <Against base={base} baseName={run.name} record={record} name={run.name} divider={divider} />;
  }
  return (
    <div class="media">
      <LinkedZoom>
        <div class="bar">
          <StepSlider {...steps} />
          {steps.steps.length > 1 && (
            <label>
              compare with{" "}
              <select value={against} onChange={(event) => setParams({ with: event.currentTarget.value })}>
                {AGAINST.map(([id, label]) => (
                  <option key={id} value={id}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          )}
          {hasImages && <ZoomButtons />}
          {more && <span class="soft">the first {number(records.length)} records</span>}
        </div>
        <div class="cards">
          {groups.map(([key, items]) => (
            <figure class="card" key={key} data-key={key}>
              <figcaption>
                <span class="title">{key}</span> <span class="soft">{items.length > 1 ? plural(items.length, "step") : ""}</span>
              </figcaption>
              {body(items)}
            </figure>
          ))}
        </div>
      </LinkedZoom>
    </div>
  );
}

/** The record at a step, or the last one before it. */
export function at(items: MediaRecord[], step: number | null): MediaRecord {
  if (step === null) return items[items.length - 1]!;
  let found = items[0]!;
  for (const one of items) if (one.step !== null && one.step <= step) found = one;
  return found;
}

/** Where the file of a record is; null if the record is a value. */
export function sourceOf(record: MediaRecord): string | null {
  return record.path === null ? null : url(`/api/runs/${record.run}/files/${record.path.split("/").map(encodeURIComponent).join("/")}`);
}

/** Whether a record is a file with an image; a plot may also be a specification, which is drawn here. */
export function isPicture(record: MediaRecord): boolean {
  return record.path !== null && (record.kind === "image" || record.kind === "plot") && !record.path.endsWith(".json");
}

export interface TableValue {
  columns: string[];
  rows: unknown[][];
}

export function One({ record }: { record: MediaRecord }) {
  const source = sourceOf(record);
  const said = (record.value as { caption?: string } | null)?.caption;
  const caption = (record.step !== null || said) && (
    <div class="caption">
      {said} {record.step !== null && <span class="soft">step {number(record.step)}</span>}
    </div>
  );
  let body;
  if (record.kind === "plot" && !isPicture(record)) {
    body = <Plot value={record.value} path={source && `/api/runs/${record.run}/files/${record.path}`} label={record.key} />;
  } else if (source && isPicture(record)) {
    body = (
      <Frame>
        <Picture source={source} alt={`${record.key}${record.step === null ? "" : `, step ${record.step}`}`} />
      </Frame>
    );
  }
  else if (source && record.kind === "audio") body = <audio controls src={source} />;
  else if (source && record.kind === "video") body = <video controls src={source} />;
  else if (record.kind === "text") body = <Text text={String(record.value ?? "")} />;
  else if (record.kind === "table" && record.value) body = <Table table={record.value as TableValue} />;
  else if (record.kind === "histogram" && record.value) body = <Ridgeline records={[{ ...record, value: record.value as HistogramValue }]} step={record.step} />;
  else if (source) {
    body = (
      <a href={source} download>
        {record.path}
      </a>
    );
  } else body = <pre>{JSON.stringify(record.value, null, 2)}</pre>;
  return (
    <div>
      {body}
      {caption}
    </div>
  );
}

function Text({ text }: { text: string }) {
  return /[*_#`]|^- /m.test(text) ? <Markdown text={text} /> : <p class="text">{text}</p>;
}

export function Table({ table }: { table: TableValue }) {
  const [all, setAll] = useState(false);
  const rows = all ? table.rows : table.rows.slice(0, 20);
  const numeric = table.columns.map((_, place) => rows.every((row) => row[place] === null || typeof row[place] === "number"));
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            {table.columns.map((name, place) => (
              <th key={place} class={numeric[place] ? "number" : ""}>
                {value(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <tr key={place}>
              {row.map((cell, index) => (
                <td key={index} class={typeof cell === "number" ? "number" : ""}>
                  {value(cell)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {table.rows.length > rows.length && (
        <button type="button" onClick={() => setAll(true)}>
          all {table.rows.length} rows
        </button>
      )}
    </div>
  );
}
