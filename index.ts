import { program } from "./stacks/program.ts";

export const { stage, target, postgresVersion, nodes, backupContainer, notes, passwords, backupKey } = await program();
