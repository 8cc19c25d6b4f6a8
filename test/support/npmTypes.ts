/** What the declarations of @pulumi/aws say. They are read, not type-checked: all of them would take a minute. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../../scripts/lib/paths.ts";
import type { Properties, Shape, Sides } from "./shapes.ts";

const FOLDER = join(ROOT, "node_modules", "@pulumi", "aws");

type Declared = ts.InterfaceDeclaration | ts.ClassDeclaration;

/** Interfaces and classes by name; those of namespaces as `rds.InstanceRestoreToPointInTime`. */
function named(statements: readonly ts.Statement[], prefix = ""): [string, Declared][] {
  return statements.flatMap((one): [string, Declared][] => {
    if (ts.isInterfaceDeclaration(one) || ts.isClassDeclaration(one)) return [[prefix + (one.name?.text ?? ""), one]];
    if (!ts.isModuleDeclaration(one) || !one.body || !ts.isModuleBlock(one.body)) return [];
    return named(one.body.statements, `${prefix}${one.name.text}.`);
  });
}

const files = new Map<string, ReadonlyMap<string, Declared>>();
function declarations(file: string): ReadonlyMap<string, Declared> {
  let known = files.get(file);
  if (!known) {
    // Most of the text is documentation.
    const options = { languageVersion: ts.ScriptTarget.Latest, jsDocParsingMode: ts.JSDocParsingMode.ParseNone };
    known = new Map(named(ts.createSourceFile(file, readFileSync(join(FOLDER, file), "utf8"), options).statements));
    files.set(file, known);
  }
  return known;
}

const KEYWORDS: Readonly<Partial<Record<ts.SyntaxKind, Shape>>> = {
  [ts.SyntaxKind.StringKeyword]: { kind: "string" },
  [ts.SyntaxKind.NumberKeyword]: { kind: "number" },
  [ts.SyntaxKind.BooleanKeyword]: { kind: "boolean" },
  [ts.SyntaxKind.AnyKeyword]: { kind: "any" },
};

const spell = (name: ts.EntityName): string =>
  ts.isIdentifier(name) ? name.text : `${spell(name.left)}.${name.right.text}`;

function shapeOfReference(name: string, argument: ts.TypeNode | undefined): Shape {
  if ((name === "pulumi.Input" || name === "pulumi.Output") && argument) return shapeOf(argument);
  const [, side, type = ""] = /^(input|output)s\.(.+)$/.exec(name) ?? [];
  if (side !== undefined) {
    const declared = declarations(`types/${side}.d.ts`).get(type);
    if (!declared) throw new Error(`the npm package declares no ${name}`);
    return { kind: "object", name, properties: () => propertiesOf(declared) };
  }
  // What else has a name is an enumeration, an ARN, or a resource in the place of its id.
  return { kind: name === "pulumi.asset.Archive" ? "archive" : "string" };
}

function shapeOfUnion(members: readonly ts.TypeNode[]): Shape | undefined {
  const shapes = members.filter(({ kind }) => kind !== ts.SyntaxKind.UndefinedKeyword).map(shapeOf);
  const kinds = new Set(shapes.map(({ kind }) => kind));
  if (kinds.size === 1) return shapes[0];
  return kinds.size === 2 && kinds.has("string") && kinds.has("object") ? { kind: "document" } : undefined;
}

function shapeOf(node: ts.TypeNode): Shape {
  if (ts.isArrayTypeNode(node)) return { kind: "list", of: shapeOf(node.elementType) };
  if (ts.isTypeReferenceNode(node)) return shapeOfReference(spell(node.typeName), node.typeArguments?.[0]);
  const member = ts.isTypeLiteralNode(node) ? node.members[0] : undefined;
  if (member && ts.isIndexSignatureDeclaration(member)) return { kind: "map", of: shapeOf(member.type) };
  const shape = ts.isUnionTypeNode(node) ? shapeOfUnion(node.types) : KEYWORDS[node.kind];
  if (!shape) throw new Error(`a type that is not understood: ${ts.SyntaxKind[node.kind]}`);
  return shape;
}

const propertiesOf = (declared: Declared | undefined): Properties =>
  new Map(
    [...(declared?.members ?? [])].flatMap((member) => {
      if (!ts.isPropertySignature(member) && !ts.isPropertyDeclaration(member)) return [];
      const isStatic = member.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.StaticKeyword);
      if (isStatic || !member.type || !ts.isIdentifier(member.name)) return [];
      return [[member.name.text, { shape: shapeOf(member.type), required: !member.questionToken }]];
    }),
  );

/** Of a resource, a function or the provider, by its type; undefined where the package has none of this type. */
export function npmSides(type: string): Sides | undefined {
  const [, module = "", last = ""] = type.split(":");
  const isProvider = module === "providers";
  const path = isProvider ? "provider" : module.replace(/^index\//, "");
  const code = join(FOLDER, `${path}.js`);
  // Where the file has another type than its name, a program would ask the plugin for that one.
  if (!existsSync(code) || !(isProvider || readFileSync(code, "utf8").includes(type))) return undefined;
  const name = isProvider ? "Provider" : last.charAt(0).toUpperCase() + last.slice(1);
  const all = declarations(`${path}.d.ts`);
  return {
    inputs: propertiesOf(all.get(`${name}Args`)),
    outputs: propertiesOf(all.get(name) ?? all.get(`${name}Result`)),
  };
}
