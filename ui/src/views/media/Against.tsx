/** Two records of one kind against each other: images below a divider, texts and tables with their changed lines. */
import type { Signal } from "@preact/signals";
import { diffArrays } from "diff";
import { useRef } from "preact/hooks";
import { number } from "../../parts/format";
import type { MediaRecord } from "../../api/types";
import { Cells } from "../../parts/Cells";
import { isPicture, One, sourceOf, type TableValue } from "./One";
import { Frame, Picture } from "./Picture";

interface Props {
  /** The record that the other one is compared with, and what it is called. */
  base: MediaRecord;
  baseName: string;
  record: MediaRecord;
  name: string;
  /** Where the divider of all images is: a share of the width. */
  divider: Signal<number>;
}

const AROUND = 3;

/** Whether two records can be shown against each other. */
export function comparable(base: MediaRecord | null, record: MediaRecord): base is MediaRecord {
  if (!base || base.kind !== record.kind) return false;
  if (isPicture(record)) return isPicture(base);
  return record.kind === "text" || (record.kind === "table" && Boolean(base.value) && Boolean(record.value));
}

/** One record against another; those that cannot be compared are shown alone. */
export function Against(props: Props) {
  const { record } = props;
  if (record.kind === "text") return <TextChanges {...props} />;
  if (record.kind === "table") return <TableChanges {...props} />;
  if (isPicture(record)) return <Wipe {...props} />;
  return <One record={record} />;
}

function stepOf(record: MediaRecord): string {
  return record.step === null ? "" : ` @ ${number(record.step)}`;
}

/** Two images on each other, with a divider that is dragged, or moved by the arrow keys. */
function Wipe({ base, baseName, record, name, divider }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const share = divider.value;
  const to = (clientX: number) => {
    const box = root.current!.querySelector(".frame")!.getBoundingClientRect();
    divider.value = Math.min(Math.max((clientX - box.left) / box.width, 0), 1);
  };
  return (
    <div class="wiped">
      <div ref={root} class="wipe">
        <Frame>
          <Picture source={sourceOf(record)!} alt={`${record.key} of ${name}${stepOf(record)}`} />
          <Picture source={sourceOf(base)!} alt={`${base.key} of ${baseName}${stepOf(base)}`} share={share} />
        </Frame>
        <span
          class="divider"
          role="slider"
          tabIndex={0}
          aria-label={`divider: ${baseName} to the left, ${name} to the right`}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(share * 100)}
          style={{ left: `${share * 100}%` }}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            event.preventDefault();
            event.currentTarget.focus();
          }}
          onPointerMove={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && to(event.clientX)}
          onKeyDown={(event) => {
            const moves: Record<string, number> = { ArrowLeft: share - 0.05, ArrowRight: share + 0.05, Home: 0, End: 1 };
            const next = moves[event.key];
            if (next === undefined || event.shiftKey) return;
            event.preventDefault();
            event.stopPropagation();
            divider.value = Math.min(Math.max(next, 0), 1);
          }}
        />
      </div>
      <div class="caption ends">
        <span>
          {baseName}
          {stepOf(base)}
        </span>
        <span>
          {name}
          {stepOf(record)}
        </span>
      </div>
    </div>
  );
}

interface Change<T> {
  sign: "" | "+" | "−";
  item: T;
}

function changesOf<T>(old: T[], now: T[], same: (a: T, b: T) => boolean): Change<T>[] {
  return diffArrays(old, now, { comparator: same }).flatMap((part) => part.value.map((item): Change<T> => ({ sign: part.added ? "+" : part.removed ? "−" : "", item })));
}

/** The changes, and the equal lines next to them; a number stands for so many equal lines that are left out. */
function near<T>(changes: Change<T>[]): (Change<T> | number)[] {
  const kept = changes.map((_, place) => changes.slice(Math.max(place - AROUND, 0), place + AROUND + 1).some((one) => one.sign !== ""));
  const found: (Change<T> | number)[] = [];
  changes.forEach((one, place) => {
    if (kept[place]) found.push(one);
    else if (typeof found[found.length - 1] === "number") found[found.length - 1] = (found[found.length - 1] as number) + 1;
    else found.push(1);
  });
  return found;
}

const CLASSES = { "": "", "+": "added", "−": "removed" } as const;

function Legend({ changes, base, baseName, record, name }: Props & { changes: Change<unknown>[] }) {
  const count = (sign: string) => changes.filter((one) => one.sign === sign).length;
  if (changes.every((one) => one.sign === "")) {
    return (
      <div class="caption">
        the same as {baseName}
        {stepOf(base)}
      </div>
    );
  }
  return (
    <div class="caption">
      − {count("−")} of {baseName}
      {stepOf(base)}, + {count("+")} of {name}
      {stepOf(record)}
    </div>
  );
}

function TextChanges(props: Props) {
  const lines = (record: MediaRecord) => String(record.value ?? "").split("\n");
  const changes = changesOf(lines(props.base), lines(props.record), (a, b) => a === b);
  return (
    <div>
      <div class="diff lines">
        {near(changes).map((one, place) =>
          typeof one === "number" ? (
            <div key={place} class="soft">
              … {one} equal
            </div>
          ) : (
            <div key={place} class={CLASSES[one.sign]}>
              <b>{one.sign || " "}</b> {one.item}
            </div>
          ),
        )}
      </div>
      <Legend {...props} changes={changes} />
    </div>
  );
}

/** The rows of two tables; cells are compared by the names of their columns. */
function TableChanges(props: Props) {
  const [old, now] = [props.base.value as TableValue, props.record.value as TableValue];
  const columns = [...new Set([...now.columns, ...old.columns].map(String))];
  const rows = (table: TableValue) => {
    const places = columns.map((name) => table.columns.map(String).indexOf(name));
    return table.rows.map((row) => places.map((place) => (place < 0 ? null : (row[place] ?? null))));
  };
  const same = (a: unknown[], b: unknown[]) => JSON.stringify(a) === JSON.stringify(b);
  const changes = changesOf(rows(old), rows(now), same);
  const shown = near(changes);
  const numeric = columns.map((_, place) => changes.every(({ item }) => item[place] === null || typeof item[place] === "number"));
  const only = (name: string) => (!old.columns.map(String).includes(name) ? "added" : now.columns.map(String).includes(name) ? "" : "removed");
  return (
    <div>
      <div class="scroll diff">
        <table class="list">
          <thead>
            <tr>
              <th class="sign">
                <span class="hidden">change</span>
              </th>
              {columns.map((name, place) => (
                <th key={name} class={`${only(name)} ${numeric[place] ? "number" : ""}`}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((one, place) =>
              typeof one === "number" ? (
                <tr key={place}>
                  <td />
                  <td class="soft" colSpan={columns.length}>
                    … {one} equal
                  </td>
                </tr>
              ) : (
                <tr key={place} class={CLASSES[one.sign]}>
                  <td class="sign">
                    <b>{one.sign}</b>
                  </td>
                  <Cells row={one.item} />
                </tr>
              ),
            )}
          </tbody>
        </table>
      </div>
      <Legend {...props} changes={changes} />
    </div>
  );
}
