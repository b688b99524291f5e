/** A plot that was logged: a Plotly figure, or a Vega-Lite chart, drawn by its own library, which is loaded when it is needed. */
import { useEffect, useRef, useState } from "preact/hooks";
import { text } from "../../api/client";
import { colour, colours } from "../../state/theme";

interface Logged {
  library: "plotly" | "vega-lite";
  figure: Record<string, unknown>;
}

type Drawn = () => void;
const PLOTLY_STYLES = "plotly.js-style-global";

/** The plot of a record: the value itself, or what a file of the run holds. */
export function Plot({ value, path, label }: { value: unknown; path: string | null; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const theme = colours.value;
  useEffect(() => {
    let drop: Drawn = () => undefined;
    let gone = false;
    async function draw(): Promise<void> {
      const plot = (path === null ? value : JSON.parse(await text(path))) as Logged;
      if (gone || !place.current) return;
      const made = plot.library === "plotly" ? await plotly(place.current, plot.figure) : await vega(place.current, plot.figure);
      if (gone) made();
      else drop = made;
    }
    setProblem(null);
    draw().catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
    return () => {
      gone = true;
      drop();
    };
  }, [value, path, theme]);
  return (
    <div>
      <div ref={place} class="drawn" role="img" aria-label={label} />
      {problem !== null && (
        <details>
          <summary class="soft">This plot could not be drawn: {problem}</summary>
          <pre>{JSON.stringify(value, null, 2)}</pre>
        </details>
      )}
    </div>
  );
}

/** Draw a Vega-Lite chart. Its expressions are interpreted, not compiled, as the policy of the page demands; it loads no data. */
async function vega(place: HTMLDivElement, figure: Record<string, unknown>): Promise<Drawn> {
  const [{ View, parse, loader }, { compile }, { expressionInterpreter }] = await Promise.all([
    import("vega"),
    import("vega-lite"),
    import("vega-interpreter"),
  ]);
  const ink = colour("--ink");
  const line = colour("--line");
  const config = {
    background: "transparent",
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: ink, titleColor: ink },
    title: { color: ink },
    view: { stroke: line },
  };
  const single = !["facet", "hconcat", "vconcat", "concat", "repeat"].some((key) => key in figure);
  const sized = single ? { width: "container", height: 260, ...figure } : figure;
  const { spec } = compile(sized as unknown as Parameters<typeof compile>[0], { config: config as never });
  let refused = false;
  const closed = loader();
  closed.load = () => {
    refused = true;
    return Promise.resolve("[]");
  };
  const view = new View(parse(spec, undefined, { ast: true }), {
    container: place,
    renderer: "canvas",
    hover: true,
    expr: expressionInterpreter,
    loader: closed,
  } as never);
  await view.runAsync();
  if (refused) {
    view.finalize();
    place.replaceChildren();
    throw new Error("it refers to data elsewhere, which the page does not load");
  }
  return () => view.finalize();
}

/** Draw a Plotly figure. */
async function plotly(place: HTMLDivElement, figure: Record<string, unknown>): Promise<Drawn> {
  if (!document.getElementById(PLOTLY_STYLES)) {
    // Tells Plotly that a style sheet has its rules: the policy of the page refuses those that it would write itself.
    const mark = document.createElement("span");
    mark.id = PLOTLY_STYLES;
    mark.className = "no-inline-styles";
    mark.hidden = true;
    document.body.append(mark);
  }
  const { default: library } = await import("plotly.js-basic-dist-min");
  const ink = colour("--ink");
  const line = colour("--line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
  const given = (figure.layout ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const layout = {
    ...given,
    template: undefined,
    height: 320,
    width: undefined,
    autosize: true,
    margin: { l: 50, r: 20, t: given.title ? 40 : 20, b: 40 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: ink, size: 12 },
    xaxis: { ...axis, ...given.xaxis },
    yaxis: { ...axis, ...given.yaxis },
  };
  await library.newPlot(place, (figure.data ?? []) as unknown[], layout, { responsive: true, displayModeBar: false });
  return () => library.purge(place);
}
