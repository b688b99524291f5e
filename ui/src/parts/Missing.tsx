import { useEffect } from "preact/hooks";
import { get } from "../api/client";
import { Link } from "./Link";

const AGAIN = 2000;

/** An experiment that does not exist yet, or that the caller may not read. The view is loaded again when it appears. */
export function MissingExperiment({ experiment, message }: { experiment: string; message: string }) {
  useEffect(() => {
    const timer = setInterval(() => {
      get(`/api/experiments/${encodeURIComponent(experiment)}`).then(
        () => window.location.reload(),
        () => undefined,
      );
    }, AGAIN);
    return () => clearInterval(timer);
  }, [experiment]);
  return (
    <div class="nothing" role="alert">
      <h2>No such experiment</h2>
      <p>{message}. If a run of it begins, it is shown here.</p>
      <Link to="/">All experiments</Link>
    </div>
  );
}
