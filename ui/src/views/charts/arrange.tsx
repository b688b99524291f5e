/** The order and the size of the charts of each section: in the URL, and kept by the browser for each experiment. */
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { param, setParams } from "../../state/url";

export type Size = "small" | "medium" | "large";
export const HEIGHTS: Record<Size, number> = { small: 130, medium: 210, large: 340 };
const SIZES: Size[] = ["small", "medium", "large"];

interface Kept {
  /** Section → its charts in their order; charts that are not listed follow. */
  order: Record<string, string[]>;
  sizes: Record<string, Size>;
}

export interface Arrangement {
  sorted: (section: string, charts: string[]) => string[];
  /** Put a chart of a section at a place. */
  move: (section: string, charts: string[], chart: string, place: number) => void;
  sizeOf: (section: string) => Size;
  resize: (section: string, size: Size) => void;
  /** Whether a section differs from what it is at first. */
  changed: (section: string) => boolean;
  reset: (section: string) => void;
  /** What was done last, for screen readers. */
  said: string;
}

/** Characters of an arrangement that still goes into the URL. */
const LONGEST = 1500;

function parsed(text: string | null): Kept {
  try {
    return { order: {}, sizes: {}, ...(JSON.parse(text || "{}") as Partial<Kept>) };
  } catch {
    return { order: {}, sizes: {} };
  }
}

/** How the charts of a view are arranged; `place` is the experiment, or the view. */
export function useArrangement(place: string): Arrangement {
  const name = `charts:${place}`;
  const [own, setOwn] = useState(() => parsed(localStorage.getItem(name)));
  const given = param("charts");
  const kept = useMemo(() => (given ? parsed(given) : own), [given, own]);
  const [said, setSaid] = useState("");
  const moved = useRef<[string, string] | null>(null);

  // A chart that is moved loses the focus.
  useLayoutEffect(() => {
    if (moved.current === null) return;
    const [section, chart] = moved.current.map((one) => CSS.escape(one));
    document.querySelector<HTMLElement>(`.grip[data-section="${section}"][data-chart="${chart}"]`)?.focus();
    moved.current = null;
  }, [kept]);

  function keep(next: Kept): void {
    const text = JSON.stringify(next);
    const empty = Object.keys(next.order).length + Object.keys(next.sizes).length === 0;
    setOwn(next);
    localStorage.setItem(name, text);
    setParams({ charts: empty || text.length > LONGEST ? null : text });
  }
  function without<T>(all: Record<string, T>, section: string): Record<string, T> {
    return Object.fromEntries(Object.entries(all).filter(([key]) => key !== section));
  }
  function sorted(section: string, charts: string[]): string[] {
    const order = kept.order[section];
    if (!order) return charts;
    const places = new Map(order.map((chart, at) => [chart, at]));
    return [...charts].sort((a, b) => (places.get(a) ?? order.length) - (places.get(b) ?? order.length));
  }
  return {
    sorted,
    said,
    move(section, charts, chart, at) {
      const others = sorted(section, charts).filter((one) => one !== chart);
      const next = Math.min(Math.max(at, 0), others.length);
      others.splice(next, 0, chart);
      moved.current = [section, chart];
      setSaid(`${chart} is chart ${next + 1} of ${others.length}`);
      keep({ ...kept, order: { ...kept.order, [section]: others } });
    },
    sizeOf: (section) => kept.sizes[section] ?? "medium",
    resize: (section, size) => keep({ ...kept, sizes: { ...kept.sizes, [section]: size } }),
    changed: (section) => section in kept.order || (kept.sizes[section] ?? "medium") !== "medium",
    reset: (section) => keep({ order: without(kept.order, section), sizes: without(kept.sizes, section) }),
  };
}

interface GripProps {
  section: string;
  charts: string[];
  chart: string;
  arrangement: Arrangement;
}

const TYPE = "application/x-runbase-chart";

/** The handle of a chart: it is dragged, or moved by keys. */
export function Grip({ section, charts, chart, arrangement }: GripProps) {
  const place = charts.indexOf(chart);
  return (
    <button
      type="button"
      class="plain grip"
      draggable
      data-section={section}
      data-chart={chart}
      aria-label={`move ${chart}`}
      title="drag to move; or ← and →, Home and End"
      onDragStart={(event) => {
        event.dataTransfer?.setData(TYPE, JSON.stringify([section, chart]));
        const card = event.currentTarget.closest("figure");
        if (card) event.dataTransfer?.setDragImage(card, 12, 12);
      }}
      onKeyDown={(event) => {
        const places: Record<string, number> = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: charts.length - 1 };
        const next = places[event.key];
        if (next === undefined) return;
        event.preventDefault();
        arrangement.move(section, charts, chart, next);
      }}
    >
      ⠿
    </button>
  );
}

/** What a chart does when another one of its section is dragged over it and dropped. */
export function dropping({ section, charts, chart, arrangement }: GripProps) {
  const mark = (event: DragEvent, on: boolean) => (event.currentTarget as HTMLElement).classList.toggle("target", on);
  return {
    onDragOver: (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes(TYPE)) return;
      event.preventDefault();
      mark(event, true);
    },
    onDragLeave: (event: DragEvent) => mark(event, false),
    onDrop: (event: DragEvent) => {
      mark(event, false);
      const text = event.dataTransfer?.getData(TYPE);
      if (!text) return;
      event.preventDefault();
      const [from, moved] = JSON.parse(text) as [string, string];
      if (from === section && moved !== chart) arrangement.move(section, charts, moved, charts.indexOf(chart));
    },
  };
}

/** The sizes of the charts of a section, and the way back to what it is at first. */
export function SectionTools({ section, arrangement }: { section: string; arrangement: Arrangement }) {
  const label = section || "metrics";
  return (
    <span class="section-tools" role="group" aria-label={`size of the charts of ${label}`}>
      {arrangement.changed(section) && (
        <button type="button" class="plain" title="order and size as at first" aria-label={`reset ${label}`} onClick={() => arrangement.reset(section)}>
          reset
        </button>
      )}
      {SIZES.map((size) => (
        <button
          key={size}
          type="button"
          class="plain"
          aria-pressed={arrangement.sizeOf(section) === size}
          aria-label={`${size} charts`}
          title={`${size} charts`}
          onClick={() => arrangement.resize(section, size)}
        >
          {size[0]!.toUpperCase()}
        </button>
      ))}
    </span>
  );
}
