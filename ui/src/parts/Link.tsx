import type { ComponentChildren } from "preact";
import { go, href } from "../state/url";

interface Props {
  to: string;
  class?: string;
  title?: string;
  "aria-current"?: "page" | undefined;
  children?: ComponentChildren;
}

/** A link inside of the page: it changes the view without loading the document again. */
export function Link({ to, children, ...more }: Props) {
  return (
    <a
      {...more}
      href={href(to)}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
