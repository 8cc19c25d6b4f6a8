/** What the components' sources say that they make in AWS. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../../scripts/lib/paths.ts";

export interface Made {
  readonly file: string;
  readonly type: string;
  /** Names of all properties in its arguments, however deep; of the whole file where not all are written in place. */
  readonly properties: ReadonlySet<string>;
}

function under(node: ts.Node): ts.Node[] {
  const found = [node];
  ts.forEachChild(node, (child) => void found.push(...under(child)));
  return found;
}

function propertiesIn(node: ts.Node): Set<string> {
  const named = under(node).filter((one) => ts.isPropertyAssignment(one) || ts.isShorthandPropertyAssignment(one));
  return new Set(named.map(({ name }) => (ts.isComputedPropertyName(name) ? "" : name.text)));
}

/** Whether every property is written here: no variable in their place, and none spread among them. */
const isWhole = (node: ts.Node): boolean =>
  ts.isObjectLiteralExpression(node) &&
  under(node).every(
    (one) =>
      !ts.isSpreadAssignment(one) ||
      ts.isParenthesizedExpression(one.expression) ||
      ts.isObjectLiteralExpression(one.expression),
  );

/** The type of a class of @pulumi/aws, by what a file calls it: `rds.Instance`, `Provider`; undefined for others. */
function typeOf(name: string, text: string): string | undefined {
  const [local = "", member] = name.split(".");
  const from = new RegExp(`^import .*\\b${local}\\b.* from "@pulumi/aws/(.+)\\.js";`, "m").exec(text)?.[1];
  if (from === undefined) return undefined;
  if (from === "provider") return "pulumi:providers:aws";
  if (member === undefined) return `aws:${from}:${local}`;
  return `aws:${from.replace(/index$/, "")}${member.charAt(0).toLowerCase()}${member.slice(1)}:${member}`;
}

function madeIn(file: string): Made[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  return under(source)
    .filter((node) => ts.isNewExpression(node))
    .flatMap(({ expression, arguments: [, args] = [] }) => {
      const type = typeOf(expression.getText(), text);
      return type === undefined ? [] : { file, type, properties: propertiesIn(args && isWhole(args) ? args : source) };
    });
}

/** Every place where a component makes a resource of AWS. */
export const madeByComponents = (): Made[] => globSync("components/**/*.ts", { cwd: ROOT }).flatMap(madeIn);
