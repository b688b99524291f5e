import { render } from "preact";
import { App } from "./App";
import "./styles/base.css";
import "./styles/views.css";

render(<App />, document.body);
