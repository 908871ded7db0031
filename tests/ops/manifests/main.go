// Validates manifests as a Kubernetes API server does, without one: strict decoding (a field that is unknown or given
// twice is an error), defaults, the server's own validation, and for pods the restricted Pod Security Standard.
// ServiceMonitors, PrometheusRules and ScaledObjects are decoded strictly into the types of their operators.
//
//	manifests FILE…
//
// Prints each problem with file, kind and name. Ends with the number of manifests on standard output; 1 if there are
// problems.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

func main() {
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	count, problems := 0, 0
	for _, path := range os.Args[1:] {
		documents, err := documents(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(2)
		}
		for _, document := range documents {
			name, found := validate(document, evaluator)
			for _, problem := range found {
				fmt.Fprintf(os.Stderr, "%s: %s: %s\n", path, name, problem)
			}
			count++
			problems += len(found)
		}
	}
	fmt.Println(count)
	if problems > 0 {
		os.Exit(1)
	}
}

// documents reads the documents of a file that are not empty.
func documents(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := yamlreader.NewYAMLReader(bufio.NewReader(file))
	var found [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		var any map[string]interface{}
		if err := yaml.Unmarshal(document, &any); err != nil || len(any) > 0 {
			found = append(found, bytes.Clone(document))
		}
	}
}

// validate returns what a manifest is, and its problems.
func validate(document []byte, evaluator podsecurity.Evaluator) (string, []string) {
	var meta unstructured.Unstructured
	if err := yaml.Unmarshal(document, &meta.Object); err != nil {
		return "?", []string{err.Error()}
	}
	name := meta.GetKind() + " " + meta.GetName()
	switch meta.GetAPIVersion() {
	case "keda.sh/v1alpha1", "monitoring.coreos.com/v1":
		return name, validateCustom(document, meta.GetKind())
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, legacyscheme.Scheme, legacyscheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	object, _, err := decoder.Decode(document, nil, nil)
	if err != nil {
		return name, []string{err.Error()}
	}
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.UnsafeConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		return name, []string{err.Error()}
	}
	list, template := validateInternal(internal)
	var problems []string
	for _, err := range list {
		problems = append(problems, err.Error())
	}
	if template != nil {
		problems = append(problems, insecure(template, evaluator)...)
	}
	return name, problems
}

// validateInternal returns the server's problems with an object, and the template of its pods.
func validateInternal(object runtime.Object) (field.ErrorList, *core.PodTemplateSpec) {
	switch object := object.(type) {
	case *apps.StatefulSet:
		options := pod.GetValidationOptionsFromPodTemplate(&object.Spec.Template, nil)
		return appsvalidation.ValidateStatefulSet(object, appsvalidation.StatefulSetValidationOptions{}, options), &object.Spec.Template
	case *batch.Job:
		options := pod.GetValidationOptionsFromPodTemplate(&object.Spec.Template, nil)
		template := &batch.JobTemplateSpec{ObjectMeta: object.ObjectMeta, Spec: object.Spec}
		return batchvalidation.ValidateJobTemplateSpec(template, nil, field.NewPath("job"), options), &object.Spec.Template
	case *batch.CronJob:
		template := &object.Spec.JobTemplate.Spec.Template
		return batchvalidation.ValidateCronJobCreate(object, pod.GetValidationOptionsFromPodTemplate(template, nil)), template
	case *core.Pod:
		options := pod.GetValidationOptionsFromPodSpecAndMeta(&object.Spec, nil, &object.ObjectMeta, nil)
		return corevalidation.ValidatePodCreate(object, options), &core.PodTemplateSpec{ObjectMeta: object.ObjectMeta, Spec: object.Spec}
	case *core.Service:
		// The server fills it in before it looks.
		object.Spec.ClusterIPs = []string{object.Spec.ClusterIP}
		return corevalidation.ValidateServiceCreate(object), nil
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(object), nil
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(object), nil
	case *core.PersistentVolumeClaim:
		options := corevalidation.ValidationOptionsForPersistentVolumeClaim(object, nil)
		return corevalidation.ValidatePersistentVolumeClaim(object, options), nil
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(object, networkingvalidation.NetworkPolicyValidationOptions{}), nil
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(object, policyvalidation.PodDisruptionBudgetValidationOptions{}), nil
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(object, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{}), nil
	}
	return field.ErrorList{field.NotSupported[string](field.NewPath("kind"), object.GetObjectKind(), nil)}, nil
}

// insecure returns what the restricted Pod Security Standard forbids, and tokens that pods would have.
func insecure(template *core.PodTemplateSpec, evaluator podsecurity.Evaluator) []string {
	var external corev1.PodSpec
	if err := corev1conversion.Convert_core_PodSpec_To_v1_PodSpec(&template.Spec, &external, nil); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &metav1.ObjectMeta{}, &external) {
		if !result.Allowed {
			problems = append(problems, "restricted: "+result.ForbiddenReason+": "+result.ForbiddenDetail)
		}
	}
	if external.AutomountServiceAccountToken == nil || *external.AutomountServiceAccountToken {
		problems = append(problems, "the pod has a token of its service account")
	}
	for _, container := range append(external.InitContainers, external.Containers...) {
		if container.SecurityContext.ReadOnlyRootFilesystem == nil || !*container.SecurityContext.ReadOnlyRootFilesystem {
			problems = append(problems, container.Name+": its root can be written")
		}
		if container.Resources.Limits.Memory().IsZero() {
			problems = append(problems, container.Name+": has no limit of memory")
		}
	}
	return problems
}

// validateCustom decodes what operators define.
func validateCustom(document []byte, kind string) []string {
	var problems []string
	note := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	switch kind {
	case "ScaledObject":
		var object keda.ScaledObject
		note(yaml.UnmarshalStrict(document, &object))
		note(keda.ValidateTriggers(object.Spec.Triggers))
		note(keda.CheckReplicaCountBoundsAreValid(&object))
	case "ServiceMonitor":
		var object monitoring.ServiceMonitor
		note(yaml.UnmarshalStrict(document, &object))
	case "PrometheusRule":
		var object monitoring.PrometheusRule
		note(yaml.UnmarshalStrict(document, &object))
		for _, group := range object.Spec.Groups {
			for _, rule := range group.Rules {
				if group.Name == "" || rule.Expr.String() == "" || (rule.Alert == "") == (rule.Record == "") {
					problems = append(problems, "group "+group.Name+": a rule needs an expression, and is an alert or a record")
				}
			}
		}
	default:
		problems = append(problems, "unknown kind")
	}
	return problems
}
