export function Trials() {
  return <p class="nothing">This view is not built yet.</p>;
}
