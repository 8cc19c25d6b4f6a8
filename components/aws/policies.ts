/** IAM's documents. */

/** Who may take a role: a service of AWS's. */
export const assumedBy = (service: string): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { Service: service }, Action: "sts:AssumeRole" }],
  });

export interface Allowed {
  readonly actions: string | readonly string[];
  readonly resources: string | readonly string[];
}

export const allow = (...statements: readonly Allowed[]): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: statements.map(({ actions, resources }) => ({ Effect: "Allow", Action: actions, Resource: resources })),
  });

/** Reads secrets that are encrypted with a key of ours. */
export const readSecrets = (secretArns: readonly string[], keyArn: string): string =>
  allow(
    { actions: "secretsmanager:GetSecretValue", resources: secretArns },
    { actions: "kms:Decrypt", resources: keyArn },
  );
