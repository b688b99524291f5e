import { useEffect, useRef } from "preact/hooks";
import { follow, type LiveQuery } from "./live";

/** Call `load` when runs or experiments changed: at most once in so many milliseconds. */
export function useChanges(what: LiveQuery | null, load: () => void, every: number): void {
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (!what) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        latest.current();
      }, every);
    };
    const stop = follow(what, { runs: (changed) => changed.ids.length && soon(), experiments: soon, reset: soon });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [what?.where, what?.experiment, what?.columns.join()]);
}
