export function Artifacts() {
  return <p class="nothing">This view is not built yet.</p>;
}
