import { useMemo, useState } from "preact/hooks";
import { url, type Schemas } from "../../api/client";
import { number, value } from "../../parts/format";
import { Markdown } from "../../parts/Markdown";
import type { RunRecord } from "../Run";
import { Ridgeline, type HistogramValue } from "./Ridgeline";

export type MediaRecord = Schemas["MediaRecord"];

/** Images, audio, video, tables, histograms and texts, each by its steps, with one slider for all. */
export function Media({ run, records }: { run: RunRecord; records: MediaRecord[] }) {
  const groups = useMemo(() => {
    const found = new Map<string, MediaRecord[]>();
    for (const one of records) found.set(one.key, [...(found.get(one.key) ?? []), one]);
    return [...found];
  }, [records]);
  const steps = useMemo(
    () => [...new Set(records.map((one) => one.step).filter((one): one is number => one !== null))].sort((a, b) => a - b),
    [records],
  );
  const [place, setPlace] = useState<number | null>(null);
  const step = steps[place ?? steps.length - 1] ?? null;
  if (!groups.length) return <p class="soft centre">This run logged no images, tables, histograms or texts.</p>;
  return (
    <div class="media">
      {steps.length > 1 && (
        <div class="bar">
          <label>
            step{" "}
            <input
              type="range"
              min={0}
              max={steps.length - 1}
              value={place ?? steps.length - 1}
              class="wide"
              onInput={(event) => setPlace(Number(event.currentTarget.value))}
            />{" "}
            <output>{step === null ? "" : number(step)}</output>
          </label>
        </div>
      )}
      <div class="cards">
        {groups.map(([key, items]) => (
          <figure class="card" key={key}>
            <figcaption>
              <span class="title">{key}</span> <span class="soft">{items.length > 1 ? `${items.length} steps` : ""}</span>
            </figcaption>
            {items[0]!.kind === "histogram" ? <Ridgeline records={items} step={step} /> : <One run={run.id} record={at(items, step)} />}
          </figure>
        ))}
      </div>
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

interface TableValue {
  columns: string[];
  rows: unknown[][];
}

export function One({ run, record }: { run: string; record: MediaRecord }) {
  const source = record.path === null ? null : url(`/api/runs/${run}/files/${record.path.split("/").map(encodeURIComponent).join("/")}`);
  const caption = record.step === null ? null : <div class="soft">step {number(record.step)}</div>;
  let body;
  if (source && (record.kind === "image" || record.kind === "plot")) body = <img src={source} alt={`${record.key}, step ${record.step}`} loading="lazy" onLoad={(event) => event.currentTarget.classList.toggle("small", event.currentTarget.naturalWidth < 160)} />;
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
