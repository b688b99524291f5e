import { Link } from "./Link";

/** An experiment that does not exist, or that the caller may not read. */
export function MissingExperiment({ message }: { message: string }) {
  return (
    <div class="nothing" role="alert">
      <h2>No such experiment</h2>
      <p>{message}</p>
      <Link to="/">All experiments</Link>
    </div>
  );
}
