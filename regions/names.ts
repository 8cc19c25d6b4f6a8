/** A region in names of environment variables: EU_WEST_1. */
export const regionSuffix = (region: string): string => region.toUpperCase().replaceAll("-", "_");
