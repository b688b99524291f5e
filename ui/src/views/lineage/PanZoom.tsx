import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

interface Props {
  /** The size of what is shown. */
  width: number;
  height: number;
  /** What is in the middle at first, if not all fits. */
  centre: { x: number; y: number };
  label: string;
  children: ComponentChildren;
}

interface View {
  scale: number;
  x: number;
  y: number;
}

const [LEAST, MOST] = [0.15, 3];
const STEP = 60;

/** A drawing that is fitted to the width, moved by dragging and arrow keys, and zoomed by the wheel, `+` and `-`. */
export function PanZoom({ width, height, centre, label, children }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<View>({ scale: 1, x: 0, y: 0 });
  const dragged = useRef<[number, number] | null>(null);

  function fit(): void {
    const box = root.current!.getBoundingClientRect();
    const scale = Math.min(1, Math.max(box.width / width, LEAST));
    const fits = height * scale <= box.height;
    setView({ scale, x: (box.width - width * scale) / 2, y: fits ? Math.min((box.height - height * scale) / 2, 24) : box.height / 2 - centre.y * scale });
  }
  useLayoutEffect(fit, [width, height, centre.y]);

  function zoom(factor: number, px?: number, py?: number): void {
    const box = root.current!.getBoundingClientRect();
    const [atX, atY] = [px ?? box.width / 2, py ?? box.height / 2];
    setView((old) => {
      const scale = Math.min(Math.max(old.scale * factor, LEAST), MOST);
      const share = scale / old.scale;
      return { scale, x: atX - (atX - old.x) * share, y: atY - (atY - old.y) * share };
    });
  }
  const pan = (dx: number, dy: number) => setView((old) => ({ ...old, x: old.x + dx, y: old.y + dy }));

  useEffect(() => {
    const area = root.current!;
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = area.getBoundingClientRect();
      zoom(Math.exp(-Math.sign(event.deltaY) * 0.15), event.clientX - box.left, event.clientY - box.top);
    };
    area.addEventListener("wheel", wheel, { passive: false });
    return () => area.removeEventListener("wheel", wheel);
  }, []);

  return (
    <>
      <div class="row graph-tools" role="group" aria-label="zoom of the graph">
        <button type="button" aria-label="zoom out" title="smaller (-)" onClick={() => zoom(1 / 1.25)}>
          −
        </button>
        <button type="button" title="fit to the width (0)" onClick={fit}>
          {Math.round(view.scale * 100)} %
        </button>
        <button type="button" aria-label="zoom in" title="larger (+)" onClick={() => zoom(1.25)}>
          +
        </button>
      </div>
      <div
        ref={root}
        class="graph-area"
        tabIndex={0}
        role="group"
        aria-label={`${label}; arrow keys move it, plus and minus zoom it`}
        onPointerDown={(event) => {
          if (event.button !== 0 || (event.target as Element).closest("a")) return;
          dragged.current = [event.clientX, event.clientY];
          root.current!.setPointerCapture(event.pointerId);
        }}
        onPointerMove={(event) => {
          const { current } = dragged;
          if (!current) return;
          pan(event.clientX - current[0], event.clientY - current[1]);
          dragged.current = [event.clientX, event.clientY];
        }}
        onPointerUp={() => (dragged.current = null)}
        onPointerCancel={() => (dragged.current = null)}
        onKeyDown={(event) => {
          const moves: Record<string, () => void> = {
            ArrowLeft: () => pan(STEP, 0),
            ArrowRight: () => pan(-STEP, 0),
            ArrowUp: () => pan(0, STEP),
            ArrowDown: () => pan(0, -STEP),
            "+": () => zoom(1.25),
            "=": () => zoom(1.25),
            "-": () => zoom(1 / 1.25),
            "0": fit,
          };
          const move = moves[event.key];
          if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
          event.preventDefault();
          move();
        }}
      >
        <svg class="graph" width="100%" height="100%" role="presentation">
          <g transform={`translate(${view.x} ${view.y}) scale(${view.scale})`}>{children}</g>
        </svg>
      </div>
    </>
  );
}
