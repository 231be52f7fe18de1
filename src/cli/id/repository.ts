import { type IdentityName, Repository } from '../../identity/index.js'
import { defaultRepository } from '../flags/defaults.js'
import type { Values } from '../flags/values.js'

export function repositoryPath(values: Values): string {
  return values.path('app-repo') ?? defaultRepository()
}

/** The repository, and whom in it a person means. @throws PlexusError REPOSITORY, IDENTITY_… */
export async function findIdentity(
  text: string,
  values: Values,
): Promise<{ repository: Repository; name: IdentityName }> {
  const repository = await Repository.open(repositoryPath(values))
  return { repository, name: await repository.resolve(text) }
}
