import type { Stack } from "@pulumi/pulumi/automation/index.js";

interface Protectable {
  readonly type: string;
  readonly id?: string;
  readonly protect?: boolean;
}

/** Lifts the protection of Docker volumes in a stack's state, so that the program may let go of them. */
export async function unprotectVolumes(stack: Stack, volumes: readonly string[]): Promise<void> {
  const exported = await stack.exportStack();
  const deployment = exported.deployment as { resources?: readonly Protectable[] };
  const resources = (deployment.resources ?? []).map((resource) =>
    resource.type === "docker:index/volume:Volume" && volumes.includes(resource.id ?? "")
      ? { ...resource, protect: false }
      : resource,
  );
  await stack.importStack({ ...exported, deployment: { ...deployment, resources } });
}
