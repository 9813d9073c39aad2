/** Imports a package of those that are installed beside this file. */
export const load = (name) => import(name);
