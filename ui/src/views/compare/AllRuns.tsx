import { failed } from "../../parts/toast";
import type { RunRecord } from "../../api/types";
import { ofExperiment, type Plotted } from "./values";

interface Props {
  runs: RunRecord[];
  all: Plotted | null;
  setAll: (all: Plotted | null) => void;
}

/** Switches a plot from the compared runs to all runs of their experiment. */
export function AllRuns({ runs: [first], all, setAll }: Props) {
  return (
    <label>
      <input
        type="checkbox"
        checked={all !== null}
        onChange={() => {
          if (all) setAll(null);
          else if (first) ofExperiment(first.experiment_id, null).then(setAll, failed);
        }}
      />{" "}
      all runs of {first?.experiment}
    </label>
  );
}
