/** Images that are zoomed together: what one shows, all show. */
import { signal, useSignal, type Signal } from "@preact/signals";
import { createContext, type ComponentChildren } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { number } from "../../parts/format";

/** How much of each image is shown: `x` and `y` are the corner of the part, as shares of the image. */
export interface Zoom {
  scale: number;
  x: number;
  y: number;
}

const MOST = 32;
const WHOLE: Zoom = { scale: 1, x: 0, y: 0 };
/** Without a `LinkedZoom` around them, images are not zoomed. */
const Linked = createContext<Signal<Zoom> | null>(null);
const FIXED = signal(WHOLE);

function clamped(scale: number, x: number, y: number): Zoom {
  const size = Math.min(Math.max(scale, 1), MOST);
  const most = 1 - 1 / size;
  return { scale: size, x: Math.min(Math.max(x, 0), most), y: Math.min(Math.max(y, 0), most) };
}

/** Zoom by a factor, so that what is at a place of the frame stays there. */
function zoomed(old: Zoom, factor: number, px = 0.5, py = 0.5): Zoom {
  const scale = Math.min(Math.max(old.scale * factor, 1), MOST);
  return clamped(scale, old.x + px / old.scale - px / scale, old.y + py / old.scale - py / scale);
}

/** The images below have one zoom, which keys and the buttons of `ZoomButtons` change. */
export function LinkedZoom({ children }: { children: ComponentChildren }) {
  const zoom = useSignal<Zoom>(WHOLE);
  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || event.metaKey || event.ctrlKey || event.altKey) return;
      const { scale, x, y } = zoom.value;
      const pan = 0.2 / scale;
      if (event.key === "+" || event.key === "=") zoom.value = zoomed(zoom.value, 1.5);
      else if (event.key === "-") zoom.value = zoomed(zoom.value, 1 / 1.5);
      else if (event.key === "0") zoom.value = WHOLE;
      else if (event.shiftKey && event.key.startsWith("Arrow")) {
        const way = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -pan : pan;
        const flat = event.key === "ArrowLeft" || event.key === "ArrowRight";
        zoom.value = clamped(scale, x + (flat ? way : 0), y + (flat ? 0 : way));
      } else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
  return <Linked.Provider value={zoom}>{children}</Linked.Provider>;
}

export function ZoomButtons() {
  const zoom = useContext(Linked) ?? FIXED;
  const { scale } = zoom.value;
  return (
    <span class="row" role="group" aria-label="zoom of all images">
      <button type="button" title="smaller (-)" aria-label="zoom out" disabled={scale <= 1} onClick={() => (zoom.value = zoomed(zoom.value, 1 / 1.5))}>
        −
      </button>
      <button type="button" title="whole images (0)" disabled={scale === 1} onClick={() => (zoom.value = WHOLE)}>
        {number(Math.round(scale * 10) / 10)}×
      </button>
      <button type="button" title="larger (+); or Ctrl and the wheel, over an image" aria-label="zoom in" disabled={scale >= MOST} onClick={() => (zoom.value = zoomed(zoom.value, 1.5))}>
        +
      </button>
    </span>
  );
}

/** A frame whose images follow the zoom: Ctrl and the wheel zoom it, and dragging moves it. */
export function Frame({ children, class: extra = "" }: { children: ComponentChildren; class?: string }) {
  const root = useRef<HTMLSpanElement>(null);
  const linked = useContext(Linked);
  const zoom = linked ?? FIXED;
  const dragged = useRef<[number, number] | null>(null);
  useEffect(() => {
    const frame = root.current!;
    const wheel = (event: WheelEvent) => {
      if (!linked || (!event.ctrlKey && !event.metaKey)) return;
      event.preventDefault();
      const box = frame.getBoundingClientRect();
      zoom.value = zoomed(zoom.value, event.deltaY < 0 ? 1.2 : 1 / 1.2, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    // Preact's listeners are passive here, and could not keep the browser from zooming the page.
    frame.addEventListener("wheel", wheel, { passive: false });
    return () => frame.removeEventListener("wheel", wheel);
  }, [linked]);
  return (
    <span
      ref={root}
      class={`frame ${zoom.value.scale > 1 ? "zoomed" : ""} ${extra}`}
      onPointerDown={(event) => {
        if (zoom.value.scale === 1 || event.button !== 0) return;
        dragged.current = [event.clientX, event.clientY];
        root.current!.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => {
        const { current } = dragged;
        if (!current) return;
        const box = root.current!.getBoundingClientRect();
        const { scale, x, y } = zoom.value;
        zoom.value = clamped(scale, x - (event.clientX - current[0]) / box.width / scale, y - (event.clientY - current[1]) / box.height / scale);
        dragged.current = [event.clientX, event.clientY];
      }}
      onPointerUp={() => (dragged.current = null)}
      onPointerCancel={() => (dragged.current = null)}
    >
      {children}
    </span>
  );
}

/** An image in a frame. Images of few pixels are drawn with sharp pixels. */
export function Picture({ source, alt, share = null }: { source: string; alt: string; share?: number | null }) {
  const { scale, x, y } = (useContext(Linked) ?? FIXED).value;
  const clip = share === null ? null : { clipPath: `inset(0 ${(1 - (x + share / scale)) * 100}% 0 0)` };
  return (
    <img
      src={source}
      alt={alt}
      loading="lazy"
      draggable={false}
      class={share === null ? "" : "over"}
      style={{ transform: `translate(${-x * scale * 100}%, ${-y * scale * 100}%) scale(${scale})`, ...clip }}
      onLoad={(event) => event.currentTarget.classList.toggle("small", event.currentTarget.naturalWidth < 160)}
    />
  );
}
