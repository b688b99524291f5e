/** One record of a run: an image, audio, a video, a text, a table, a histogram or a plot. */
import { useState } from "preact/hooks";
import { url } from "../../api/client";
import type { MediaRecord } from "../../api/types";
import { Cells } from "../../parts/Cells";
import { number, value } from "../../parts/format";
import { Markdown } from "../../parts/Markdown";
import { Frame, Picture } from "./Picture";
import { Plot } from "./Plot";
import { Ridgeline, type HistogramValue } from "./Ridgeline";

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
              <Cells row={row} />
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
