import { get } from "../api/client";
import { useChanges } from "../api/useChanges";
import { Link } from "./Link";

/** An experiment that does not exist yet, or that the caller may not read. The view is loaded again when it appears. */
export function MissingExperiment({ experiment, message }: { experiment: string; message: string }) {
  useChanges(
    { columns: ["id"] },
    () => {
      get(`/api/experiments/${encodeURIComponent(experiment)}`).then(
        () => window.location.reload(),
        () => undefined,
      );
    },
    500,
  );
  return (
    <div class="nothing" role="alert">
      <h2>No such experiment</h2>
      <p>{message}. If a run of it begins, it is shown here.</p>
      <Link to="/">All experiments</Link>
    </div>
  );
}
