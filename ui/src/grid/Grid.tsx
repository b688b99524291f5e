import type { Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { sized } from "../charts/LineChart";
import { colour, colours } from "../state/theme";

export interface Cell {
  text: string;
  /** Name of a colour in the style sheet. */
  colour?: string;
  /** Colour of a square before the text. */
  swatch?: string;
  bold?: boolean;
}

export interface Column {
  id: string;
  label: string;
  width: number;
  numeric?: boolean;
  /** Explains the column. */
  title?: string;
  sortable?: boolean;
}

interface Props {
  label: string;
  columns: Column[];
  count: number;
  /** The id of a row, or null while it is not loaded. */
  id: (row: number) => string | null;
  cell: (row: number, column: Column) => Cell;
  sort: { id: string; descending: boolean } | null;
  onSort: (column: Column) => void;
  onResize: (id: string, width: number) => void;
  /** Without these, rows have no check boxes. */
  selected?: Set<string>;
  onSelect?: (selected: Set<string>) => void;
  onOpen: (id: string) => void;
  /** Rows up to this one are looked at. */
  onNeed: (row: number) => void;
  hovered: Signal<string | null>;
  /** Columns at the left that do not scroll. */
  pinned?: number;
  onKey?: (event: KeyboardEvent) => boolean;
}

/** The rows and columns in view; pinned columns are always. */
interface View {
  first: number;
  last: number;
  left: number;
  right: number;
}

/** Milliseconds after the last move until the ARIA grid follows: it has a hundred times as many elements as the canvas. */
const SETTLED = 90;
const NOTHING = new Set<string>();
const HEADER = 30;
const ROW = 27;

/** A table on a canvas, with the rows in view as an ARIA grid beside it. The rows come from a function, as they are needed. */
export function Grid(props: Props) {
  const { columns, count, selected = NOTHING, hovered, pinned = 1 } = props;
  const CHECK = props.onSelect ? 30 : 0;
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [cursor, setCursor] = useState(0);
  const [anchor, setAnchor] = useState<number | null>(null);
  const [view, setView] = useState<View>({ first: 0, last: 0, left: 0, right: 0 });
  const settle = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const moving = useRef(false);
  const frame = useRef(0);
  const resize = useRef<{ id: string; begin: number; width: number } | null>(null);
  const total = columns.reduce((sum, column) => sum + column.width, CHECK);
  const frozen = columns.slice(0, pinned).reduce((sum, column) => sum + column.width, CHECK);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      const box = entry!.contentRect;
      setSize({ width: Math.floor(box.width), height: Math.floor(box.height) });
    });
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);

  function draw(): void {
    const { current: place } = root;
    if (!place || !canvas.current || !size.width) return;
    const { columns: shown, count: rows, id, cell, sort, selected: chosen = NOTHING, onNeed } = latest.current;
    const context = sized(canvas.current, size.width, size.height);
    const top = place.scrollTop;
    const left = place.scrollLeft;
    const first = Math.max(0, Math.floor(top / ROW));
    const last = Math.min(rows, Math.ceil((top + size.height - HEADER) / ROW));
    onNeed(last);
    const ink = colour("--ink");
    const soft = colour("--soft");
    const line = colour("--line");
    const marked = hovered.peek();
    const text = "12.5px Inter, system-ui, sans-serif";
    const mono = "12px ui-monospace, SFMono-Regular, Menlo, monospace";

    const paint = (from: number, to: number, start: number, clip: number) => {
      context.save();
      context.beginPath();
      context.rect(clip, 0, size.width - clip, size.height);
      context.clip();
      let x = start;
      for (let place = from; place < to; place++) {
        const column = shown[place]!;
        if (x < size.width && x + column.width > clip) {
          for (let row = first; row < last; row++) {
            const y = HEADER + row * ROW - top;
            const { text: words, colour: tint, swatch, bold } = cell(row, column);
            context.font = column.numeric ? mono : bold ? `600 ${text}` : text;
            context.fillStyle = tint ? colour(tint) : ink;
            context.textBaseline = "middle";
            let begin = x + 8;
            if (swatch) {
              context.save();
              context.fillStyle = swatch;
              context.beginPath();
              context.roundRect(begin, y + ROW / 2 - 5, 10, 10, 3);
              context.fill();
              context.restore();
              begin += 16;
            }
            const room = x + column.width - 8 - begin;
            if (column.numeric) {
              context.textAlign = "right";
              context.fillText(fitted(context, words, room), x + column.width - 10, y + ROW / 2 + 0.5);
            } else {
              context.textAlign = "left";
              context.fillText(fitted(context, words, room), begin, y + ROW / 2 + 0.5);
            }
          }
          context.fillStyle = colour("--head");
          context.fillRect(x, 0, column.width, HEADER);
          const mine = sort?.id === column.id;
          context.font = `${mine ? 600 : 500} 11.5px Inter, system-ui, sans-serif`;
          context.fillStyle = mine ? ink : soft;
          context.textBaseline = "middle";
          context.textAlign = column.numeric ? "right" : "left";
          const arrow = mine ? (sort.descending ? " ↓" : " ↑") : "";
          const label = fitted(context, column.label, column.width - 16 - (mine ? 12 : 0), true) + arrow;
          context.fillText(label, column.numeric ? x + column.width - 10 : x + 8, HEADER / 2 + 0.5);
          context.fillStyle = line;
          context.fillRect(x + column.width - 1, 6, 1, HEADER - 12);
        }
        x += column.width;
      }
      context.restore();
    };

    // backgrounds and lines of rows
    for (let row = first; row < last; row++) {
      const y = HEADER + row * ROW - top;
      const key = id(row);
      if (key !== null && chosen.has(key)) {
        context.fillStyle = colour("--select");
        context.fillRect(0, y, size.width, ROW);
      } else if (key !== null && key === marked) {
        context.fillStyle = colour("--hover");
        context.fillRect(0, y, size.width, ROW);
      }
      context.fillStyle = line;
      context.fillRect(0, y + ROW - 1, size.width, 1);
    }
    paint(pinned, shown.length, frozen - left, frozen);
    // what does not scroll
    context.fillStyle = colour("--paper");
    context.fillRect(0, HEADER, 0, 0);
    paint(0, pinned, CHECK, 0);
    context.fillStyle = colour("--head");
    context.fillRect(0, 0, CHECK, HEADER);
    for (let row = first; row < last; row++) {
      const y = HEADER + row * ROW - top;
      const key = id(row);
      if (CHECK) checkbox(context, 9, y + ROW / 2 - 6.5, key !== null && chosen.has(key));
    }
    if (left > 0) {
      const shade = context.createLinearGradient(frozen, 0, frozen + 8, 0);
      shade.addColorStop(0, colour("--shade"));
      shade.addColorStop(1, "transparent");
      context.fillStyle = shade;
      context.fillRect(frozen, 0, 8, size.height);
    }
    context.fillStyle = line;
    context.fillRect(0, HEADER - 1, size.width, 1);
    if (document.activeElement === place && rows > 0) {
      const y = HEADER + Math.min(cursor, rows - 1) * ROW - top;
      context.strokeStyle = colour("--accent");
      context.lineWidth = 2;
      context.save();
      context.beginPath();
      context.rect(0, HEADER, size.width, size.height);
      context.clip();
      context.strokeRect(1, y + 1, size.width - 2, ROW - 3);
      context.restore();
    }
    let [begin, end] = [pinned, pinned];
    let x = frozen - left;
    for (let place = pinned; place < shown.length; place++) {
      const { width } = shown[place]!;
      if (x + width <= frozen) begin = place + 1;
      if (x < size.width) end = place + 1;
      x += width;
    }
    const next = { first, last, left: begin, right: Math.max(end, begin) };
    clearTimeout(settle.current);
    const show = () =>
      setView((old) => (old.first === first && old.last === last && old.left === next.left && old.right === next.right ? old : next));
    if (moving.current) settle.current = setTimeout(show, SETTLED);
    else show();
    moving.current = false;
  }

  function scrolled(): void {
    moving.current = true;
    redraw();
  }
  function redraw(): void {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(draw);
  }
  const version = colours.value;
  const marked = hovered.value;
  useEffect(() => {
    draw();
  }, [props, size.width, size.height, version, marked, cursor]);

  function rowAt(event: { clientY: number }): number {
    const box = root.current!.getBoundingClientRect();
    return Math.floor((event.clientY - box.top - HEADER + root.current!.scrollTop) / ROW);
  }

  function columnAt(event: { clientX: number }): { column: Column; edge: boolean } | null {
    const box = root.current!.getBoundingClientRect();
    const inside = event.clientX - box.left;
    let x = CHECK;
    for (const [place, column] of columns.entries()) {
      const begin = place < pinned ? x : x - root.current!.scrollLeft;
      if (inside >= begin && inside < begin + column.width && (place < pinned || inside >= frozen)) {
        return { column, edge: inside > begin + column.width - 6 };
      }
      x += column.width;
    }
    return null;
  }

  function toggle(row: number, range: boolean): void {
    const next = new Set(selected);
    const key = props.id(row);
    if (key === null) return;
    if (range && anchor !== null) {
      for (let place = Math.min(anchor, row); place <= Math.max(anchor, row); place++) {
        const other = props.id(place);
        if (other !== null) next.add(other);
      }
    } else if (next.has(key)) next.delete(key);
    else next.add(key);
    setAnchor(row);
    props.onSelect?.(next);
  }

  function scrollTo(row: number): void {
    const { current: place } = root;
    if (!place) return;
    const y = row * ROW;
    if (y < place.scrollTop) place.scrollTop = y;
    else if (y + ROW > place.scrollTop + size.height - HEADER) place.scrollTop = y + ROW - size.height + HEADER;
  }

  function keyboard(event: KeyboardEvent): void {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (props.onKey?.(event)) {
      event.preventDefault();
      return;
    }
    const page = Math.max(1, Math.floor((size.height - HEADER) / ROW) - 1);
    const moves: Record<string, number> = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, PageUp: -page };
    let next = cursor;
    if (event.key in moves) next += moves[event.key]!;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = count - 1;
    else if (event.key === "x" || event.key === " ") toggle(cursor, event.shiftKey);
    else if (event.key === "Enter") {
      const key = props.id(cursor);
      if (key !== null) props.onOpen(key);
    } else if (event.key === "Escape") props.onSelect?.(new Set());
    else if (event.key === "ArrowRight") root.current!.scrollLeft += 120;
    else if (event.key === "ArrowLeft") root.current!.scrollLeft -= 120;
    else return;
    event.preventDefault();
    next = Math.min(Math.max(next, 0), Math.max(count - 1, 0));
    if (next !== cursor) {
      setCursor(next);
      hovered.value = props.id(next);
      scrollTo(next);
    }
  }

  const inView = columns.map((column, place) => ({ column, place })).filter(({ place }) => place < pinned || (place >= view.left && place < view.right));
  const rows = [];
  for (let row = view.first; row < Math.min(view.last, count); row++) {
    const key = props.id(row);
    rows.push(
      <div
        role="row"
        key={row}
        id={`row-${row}`}
        aria-rowindex={row + 2}
        aria-selected={key !== null && selected.has(key)}
        data-run={key ?? ""}
      >
        {inView.map(({ column, place }) => (
          <span role={place === 0 ? "rowheader" : "gridcell"} key={column.id} data-column={column.id} aria-colindex={place + 1}>
            {props.cell(row, column).text}
          </span>
        ))}
      </div>,
    );
  }

  return (
    <div
      class="grid"
      ref={root}
      role="grid"
      tabIndex={0}
      aria-label={props.label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
      aria-multiselectable={props.onSelect !== undefined}
      aria-activedescendant={count ? `row-${cursor}` : undefined}
      onScroll={scrolled}
      onKeyDown={keyboard}
      onFocus={redraw}
      onBlur={redraw}
      onPointerMove={(event) => {
        if (resize.current) {
          props.onResize(resize.current.id, Math.max(50, resize.current.width + event.clientX - resize.current.begin));
          return;
        }
        const row = rowAt(event);
        const inHeader = event.clientY - root.current!.getBoundingClientRect().top < HEADER;
        const found = inHeader ? columnAt(event) : null;
        root.current!.style.cursor = found?.edge ? "col-resize" : found ? "pointer" : "default";
        root.current!.title = found ? (found.column.title ?? found.column.label) : "";
        hovered.value = !inHeader && row >= 0 && row < count ? props.id(row) : null;
      }}
      onPointerLeave={() => {
        hovered.value = null;
      }}
      onPointerDown={(event) => {
        if (event.clientY - root.current!.getBoundingClientRect().top >= HEADER) return;
        const found = columnAt(event);
        if (found?.edge) {
          resize.current = { id: found.column.id, begin: event.clientX, width: found.column.width };
          root.current!.setPointerCapture(event.pointerId);
        }
      }}
      onPointerUp={() => setTimeout(() => (resize.current = null))}
      onClick={(event) => {
        if (resize.current) return;
        const box = root.current!.getBoundingClientRect();
        if (event.clientY - box.top < HEADER) {
          const found = columnAt(event);
          if (found && !found.edge && found.column.sortable !== false) props.onSort(found.column);
          return;
        }
        const row = rowAt(event);
        if (row < 0 || row >= count) return;
        setCursor(row);
        if (event.clientX - box.left < CHECK || event.shiftKey) toggle(row, event.shiftKey);
        else if (event.metaKey || event.ctrlKey) toggle(row, false);
        else {
          const found = columnAt(event);
          const key = props.id(row);
          if (found?.column === columns[0] && key !== null) props.onOpen(key);
          else toggle(row, false);
        }
      }}
    >
      <div class="spacer" style={{ width: `${total}px`, height: `${count * ROW + HEADER}px` }} />
      <canvas ref={canvas} class="cells" aria-hidden="true" />
      <div class="hidden" role="presentation">
        <div role="row" aria-rowindex={1}>
          {inView.map(({ column, place }) => (
            <span
              role="columnheader"
              key={column.id}
              aria-colindex={place + 1}
              aria-sort={
                props.sort?.id === column.id ? (props.sort.descending ? "descending" : "ascending") : "none"
              }
            >
              {column.label}
            </span>
          ))}
        </div>
        {rows}
      </div>
    </div>
  );
}

function checkbox(context: CanvasRenderingContext2D, x: number, y: number, checked: boolean): void {
  context.beginPath();
  context.roundRect(x, y, 13, 13, 3);
  if (checked) {
    context.fillStyle = colour("--accent");
    context.fill();
    context.strokeStyle = colour("--paper");
    context.lineWidth = 1.8;
    context.beginPath();
    context.moveTo(x + 3, y + 6.8);
    context.lineTo(x + 5.6, y + 9.4);
    context.lineTo(x + 10, y + 4);
    context.stroke();
  } else {
    context.strokeStyle = colour("--edge");
    context.lineWidth = 1;
    context.stroke();
  }
}

const widths = new Map<string, string>();

/** Text that fits into some room; of a key, the end tells more than the beginning. */
function fitted(context: CanvasRenderingContext2D, text: string, room: number, keepEnd = false): string {
  if (text.length * 9 < room) return text;
  const key = `${context.font}|${Math.round(room)}|${keepEnd}|${text}`;
  let found = widths.get(key);
  if (found === undefined) {
    found = text;
    if (context.measureText(text).width > room) {
      let low = 0;
      let high = text.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        const cut = keepEnd ? `…${text.slice(-middle)}` : `${text.slice(0, middle)}…`;
        if (context.measureText(cut).width <= room) low = middle;
        else high = middle - 1;
      }
      found = keepEnd ? `…${low ? text.slice(-low) : ""}` : `${text.slice(0, low)}…`;
    }
    if (widths.size > 20_000) widths.clear();
    widths.set(key, found);
  }
  return found;
}
