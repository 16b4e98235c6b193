// Package buildkit is the adapter for BuildKit daemons, on this machine or
// elsewhere: one, or a farm of them.
//
// Its settings in the topology are:
//
//	address: tcp://builder.example.com:1234   # or addresses: [...], a farm
//	tls: {ca: ca.pem, cert: cert.pem, key: key.pem, serverName: builder}
//	cache:
//	  from: ["type=registry,ref=registry.example.com/cache/{app}"]
//	  to: [{type: registry, ref: "registry.example.com/cache/{app}", mode: max}]
//	push: auto                # or always, never
//	provenance: max           # or min: SLSA v1
//	sbom: {generator: registry.example.com/scanner:1}
//	concurrency: 2            # builds at a time on a worker of a farm
//
// Addresses have the schemes unix, tcp, ssh, docker-container and kube-pod; the
// last three run ssh, docker and kubectl. Without any, BUILDKIT_HOST is taken.
//
// The image goes from the builder straight to the topology's registry, by
// digest and without a tag, where the builder reaches it; else it comes to disk
// as an OCI layout.
package buildkit
