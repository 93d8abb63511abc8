/**
 * node:http, without what its import brings along: an `import` of it reads every export, and WebSocket is one that loads the whole of undici,
 * 3 MB of memory for nothing. Nothing else is here.
 */
export const http = process.getBuiltinModule('node:http');
