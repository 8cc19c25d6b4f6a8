import { type Settings, confText } from "./setting.ts";

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/**
 * postgresql.conf for a server whose files we write (Docker, EC2): each setting with its reason as a comment, in the
 * given order.
 */
export function renderPostgresConf(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, setting]) => `# ${setting.reason}\n${name} = ${quote(confText(setting))}\n`)
    .join("");
}
