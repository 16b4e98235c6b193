// Package kubeflags binds kubectl's usual flags (--kubeconfig, --context, -n,
// --as and so on) to a command, for a binary that can carry cli-runtime.
package kubeflags

import (
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/nationtech/harmony/internal/cluster/conn"
)

// Bind adds the flags to a flag set; parsing it fills flags. The ones that
// would put a secret on the command line are left out.
func Bind(flags *conn.Flags, set *pflag.FlagSet) {
	config := genericclioptions.ConfigFlags{
		KubeConfig: &flags.Kubeconfig, Context: &flags.Context, ClusterName: &flags.Cluster, AuthInfoName: &flags.User,
		Namespace: &flags.Namespace, APIServer: &flags.Server, TLSServerName: &flags.ServerName,
		CAFile: &flags.CAFile, CertFile: &flags.CertFile, KeyFile: &flags.KeyFile, Insecure: &flags.Insecure,
		Impersonate: &flags.As, ImpersonateUID: &flags.AsUID, ImpersonateGroup: &flags.AsGroups, Timeout: &flags.Timeout,
	}
	config.AddFlags(set)
}
