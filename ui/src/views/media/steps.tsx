/** One step for all media of a view: a slider, the arrow keys, and play. */
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { number } from "../../parts/format";
import { param, setParams } from "../../state/url";
import type { MediaRecord } from "../../api/types";

const FRAME = 400;
const SETTLED = 250;

export interface Steps {
  /** The steps at which something was logged, in order. */
  steps: number[];
  /** The chosen one; null if nothing has a step. */
  step: number | null;
  place: number;
  go: (place: number) => void;
  playing: boolean;
  play: (on: boolean) => void;
}

/** The steps of some records. The chosen step is in the URL; without one, the view follows the last step. */
export function useSteps(records: MediaRecord[]): Steps {
  const steps = useMemo(() => [...new Set(records.map((one) => one.step).filter((one): one is number => one !== null))].sort((a, b) => a - b), [records]);
  const [wanted, setWanted] = useState<number | null>(() => (param("step") === "" ? null : Number(param("step"))));
  const [playing, setPlaying] = useState(false);
  const last = steps.length - 1;
  let place = last;
  if (wanted !== null) {
    place = 0;
    steps.forEach((one, index) => {
      if (one <= wanted) place = index;
    });
  }

  function go(next: number): void {
    const found = Math.min(Math.max(next, 0), last);
    setWanted(found === last ? null : (steps[found] ?? null));
  }

  // Browsers refuse many changes of the URL in a row.
  useEffect(() => {
    const text = wanted === null ? null : String(wanted);
    if ((param("step") || null) === text) return;
    const timer = setTimeout(() => setParams({ step: text }, { replace: true }), SETTLED);
    return () => clearTimeout(timer);
  }, [wanted]);

  useEffect(() => {
    if (!playing) return;
    if (place >= last) {
      setPlaying(false);
      return;
    }
    const timer = setTimeout(() => go(place + 1), FRAME);
    return () => clearTimeout(timer);
  }, [playing, place, last]);

  function play(on: boolean): void {
    if (on && place >= last) go(0);
    setPlaying(on && last > 0);
  }

  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (/^(INPUT|TEXTAREA|SELECT|AUDIO|VIDEO)$/.test(target.tagName) || target.getAttribute("role") === "slider") return;
      if (event.metaKey || event.ctrlKey || event.altKey || event.shiftKey) return;
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        event.preventDefault();
        setPlaying(false);
        go(place + (event.key === "ArrowRight" ? 1 : -1));
      } else if (event.key === "p") play(!playing);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [place, last, playing, steps]);

  return { steps, step: steps[place] ?? null, place, go, playing, play };
}

/** The slider of the steps, with buttons for one step and for play. */
export function StepSlider({ steps, step, place, go, playing, play }: Steps) {
  if (steps.length < 2) return null;
  return (
    <span class="row steps" role="group" aria-label="step of all media">
      <button type="button" aria-pressed={playing} title={playing ? "stop (p)" : "play (p)"} aria-label={playing ? "stop" : "play"} onClick={() => play(!playing)}>
        {playing ? "❚❚" : "▶"}
      </button>
      <button type="button" title="previous step (←)" aria-label="previous step" disabled={place <= 0} onClick={() => go(place - 1)}>
        ‹
      </button>
      <button type="button" title="next step (→)" aria-label="next step" disabled={place >= steps.length - 1} onClick={() => go(place + 1)}>
        ›
      </button>
      <label>
        step{" "}
        <input
          type="range"
          class="wide"
          min={0}
          max={steps.length - 1}
          value={place}
          aria-valuetext={step === null ? "" : `step ${number(step)}`}
          onInput={(event) => go(Number(event.currentTarget.value))}
        />{" "}
        <output>{step === null ? "" : number(step)}</output>
      </label>
    </span>
  );
}
