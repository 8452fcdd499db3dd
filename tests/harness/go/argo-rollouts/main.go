// The traffic router that Argo Rollouts loads in the benchmarks: it writes the weights of one HTTPRoute.
//
// Argo's own plugin for Gateway API is in no Go module proxy. Like it, this one reads the route and updates it
// with every reconcile, and can't tell whether the gateway has taken the weights up.
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	"github.com/hashicorp/go-plugin"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
)

const name = "pilothouse/gateway"

var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// settings stand in the Rollout, under trafficRouting.plugins and the plugin's name.
type settings struct {
	HTTPRoute string `json:"httpRoute"`
}

type router struct {
	client dynamic.Interface
}

func (r *router) InitPlugin() types.RpcError {
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, nil).ClientConfig()
	if err == nil {
		r.client, err = dynamic.NewForConfig(config)
	}
	return said(err)
}

func (r *router) SetWeight(rollout *v1alpha1.Rollout, weight int32, _ []v1alpha1.WeightDestination) types.RpcError {
	var wanted settings
	canary := rollout.Spec.Strategy.Canary
	if err := json.Unmarshal(canary.TrafficRouting.Plugins[name], &wanted); err != nil {
		return said(err)
	}
	weights := map[string]int64{canary.CanaryService: int64(weight), canary.StableService: int64(100 - weight)}
	routes := r.client.Resource(httpRoutes).Namespace(rollout.Namespace)
	return said(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		route, err := routes.Get(context.Background(), wanted.HTTPRoute, meta.GetOptions{})
		if err != nil {
			return err
		}
		if err := setWeights(route, weights); err != nil {
			return err
		}
		_, err = routes.Update(context.Background(), route, meta.UpdateOptions{})
		return err
	}))
}

func (r *router) VerifyWeight(*v1alpha1.Rollout, int32, []v1alpha1.WeightDestination) (types.RpcVerified, types.RpcError) {
	return types.Verified, types.RpcError{}
}

func (r *router) UpdateHash(*v1alpha1.Rollout, string, string, []v1alpha1.WeightDestination) types.RpcError {
	return types.RpcError{}
}

func (r *router) SetHeaderRoute(*v1alpha1.Rollout, *v1alpha1.SetHeaderRoute) types.RpcError {
	return types.RpcError{}
}

func (r *router) SetMirrorRoute(*v1alpha1.Rollout, *v1alpha1.SetMirrorRoute) types.RpcError {
	return types.RpcError{}
}

func (r *router) RemoveManagedRoutes(*v1alpha1.Rollout) types.RpcError {
	return types.RpcError{}
}

func (r *router) Type() string {
	return name
}

// setWeights changes the backends of the route's one rule.
func setWeights(route *unstructured.Unstructured, weights map[string]int64) error {
	rules, found, err := unstructured.NestedSlice(route.Object, "spec", "rules")
	if err != nil {
		return err
	}
	if !found || len(rules) != 1 {
		return fmt.Errorf("the route %s has not one rule", route.GetName())
	}
	rule := rules[0].(map[string]any)
	for _, backend := range rule["backendRefs"].([]any) {
		backend := backend.(map[string]any)
		backend["weight"] = weights[backend["name"].(string)]
	}
	return unstructured.SetNestedSlice(route.Object, rules, "spec", "rules")
}

func said(err error) types.RpcError {
	if err == nil {
		return types.RpcError{}
	}
	return types.RpcError{ErrorString: err.Error()}
}

func main() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   "ARGO_ROLLOUTS_RPC_PLUGIN",
			MagicCookieValue: "trafficrouter",
		},
		Plugins: map[string]plugin.Plugin{"RpcTrafficRouterPlugin": &rpc.RpcTrafficRouterPlugin{Impl: &router{}}},
	})
}
