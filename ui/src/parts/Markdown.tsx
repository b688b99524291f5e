import { useEffect, useState } from "preact/hooks";

/** Text in Markdown, without anything that could run: scripts, styles, forms and foreign images are removed. */
export function Markdown({ text }: { text: string }) {
  const [html, setHtml] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    void Promise.all([import("marked"), import("dompurify")]).then(([{ marked }, { default: purify }]) => {
      const clean = purify.sanitize(marked.parse(text, { async: false, breaks: true }), {
        FORBID_TAGS: ["style", "form", "input", "button", "iframe", "video", "audio"],
        FORBID_ATTR: ["style", "srcset"],
        ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#|\/)/i,
      });
      if (current) setHtml(clean);
    });
    return () => {
      current = false;
    };
  }, [text]);
  if (html === null) return <p>{text}</p>;
  return <div class="markdown" dangerouslySetInnerHTML={{ __html: html }} />;
}
