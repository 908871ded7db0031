{{/*
What values.schema.json cannot say. All that is wrong is told at once.
*/}}
{{- define "situs.checks" -}}
{{- $v := .Values -}}
{{- $bad := list -}}

{{/* The home and its zones. */}}
{{- if not (hasKey $v.zones $v.home.zone) -}}
{{- $bad = append $bad (printf "home.zone: %q is not among zones (%s): quarantine and receipts lie in the home zone's store" $v.home.zone (keys $v.zones | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $claims := dict -}}
{{- range $zone, $of := $v.zones -}}
{{- $claim := include "situs.claim" (dict "root" $ "zone" $zone) -}}
{{- with get $claims $claim -}}
{{- $bad = append $bad (printf "zones.%s: has the claim %q of zone %s; each zone needs a volume of its own" $zone $claim .) -}}
{{- end -}}
{{- $_ := set $claims $claim $zone -}}
{{- if eq (include "situs.accessMode" $of) "ReadWriteOnce" -}}
{{- if gt (include "situs.most" $ | int) 1 -}}
{{- $bad = append $bad (printf "zones.%s.accessMode: ReadWriteOnce serves one pod, and there may be %s: all pods of a home write to the same stores. Use ReadWriteMany, or one pod" $zone (include "situs.most" $)) -}}
{{- end -}}
{{- with get $v.zones $v.home.zone -}}
{{- $common := false -}}
{{- range .regions }}{{ if has . $of.regions }}{{ $common = true }}{{ end }}{{ end -}}
{{- if not $common -}}
{{- $bad = append $bad (printf "zones.%s.accessMode: a ReadWriteOnce volume in %s cannot be mounted where the pods run, in the home zone's regions (%s)" $zone (join ", " $of.regions) (join ", " .regions)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $zone := $v.stores.initNow -}}
{{- if not (hasKey $v.zones $zone) -}}
{{- $bad = append $bad (printf "stores.initNow: there is no zone %q in zones" $zone) -}}
{{- end -}}
{{- end -}}

{{/* Keys. */}}
{{- if and $v.keys.allowUnsigned $v.keys.signing -}}
{{- $bad = append $bad "keys: signing and allowUnsigned contradict each other" -}}
{{- end -}}
{{- if not (or $v.keys.allowUnsigned $v.keys.signing) -}}
{{- $bad = append $bad "keys.signing: name the Secret of the key that signs receipts: { secret, key }" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $zone, $of := $v.keys.pseudonyms -}}
{{- $reference := printf "%s/%s" $of.secret $of.key -}}
{{- with get $seen $reference -}}
{{- $bad = append $bad (printf "keys.pseudonyms.%s: is the key of %s; each zone needs one of its own" $zone .) -}}
{{- end -}}
{{- $_ := set $seen $reference $zone -}}
{{- end -}}

{{/* Kafka. */}}
{{- $k := $v.kafka -}}
{{- $own := list "bootstrap.servers" "metadata.broker.list" "group.id" "isolation.level" "enable.auto.commit" "enable.auto.offset.store" "auto.offset.reset" "statistics.interval.ms" -}}
{{- $secret := list "sasl.password" "ssl.key.password" "ssl.key.pem" "ssl.keystore.password" -}}
{{- $made := include "situs.properties" (dict "Values" (dict "kafka" (omit $k "properties" "secretProperties"))) | fromJson -}}
{{- range $name, $value := $k.properties -}}
{{- if has $name $own -}}
{{- $bad = append $bad (printf "kafka.properties: %s is set by Situs itself" $name) -}}
{{- else if has $name $secret -}}
{{- $bad = append $bad (printf "kafka.properties: %s is a secret, and values lie in the release; name a Secret in kafka.secretProperties" $name) -}}
{{- else if and (hasKey $made $name) (ne $name "client.id") -}}
{{- $bad = append $bad (printf "kafka.properties: %s comes from kafka.staticMembership, kafka.tls or kafka.sasl" $name) -}}
{{- else if hasPrefix "@" (toString $value) -}}
{{- $bad = append $bad (printf "kafka.properties: %s begins with @, which stands for what is filled in" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $k.secretProperties -}}
{{- if or (has $name $own) (hasKey $k.properties $name) (hasKey $made $name) -}}
{{- $bad = append $bad (printf "kafka.secretProperties: %s is set elsewhere" $name) -}}
{{- end -}}
{{- end -}}
{{- if ne (empty $k.tls.certificate) (empty $k.tls.key) -}}
{{- $bad = append $bad "kafka.tls: certificate and key go together" -}}
{{- end -}}
{{- if and (not $k.tls.enabled) (or $k.tls.ca $k.tls.certificate) -}}
{{- $bad = append $bad "kafka.tls: has certificates and is not enabled" -}}
{{- end -}}
{{- if $k.sasl.mechanism -}}
{{- if not (and $k.sasl.username $k.sasl.password) -}}
{{- $bad = append $bad (printf "kafka.sasl: %s needs username and password, { secret, key }" $k.sasl.mechanism) -}}
{{- end -}}
{{- if and (eq $k.sasl.mechanism "PLAIN") (not $k.tls.enabled) -}}
{{- $bad = append $bad "kafka.sasl.mechanism: PLAIN without kafka.tls sends the password as it is" -}}
{{- end -}}
{{- else if or $k.sasl.username $k.sasl.password -}}
{{- $bad = append $bad "kafka.sasl: has a username or password and no mechanism" -}}
{{- end -}}

{{/* Policy and pipelines. */}}
{{- if and $v.policy.existingConfigMap (or $v.policy.text $v.policy.devices $v.policy.readers $v.policy.cedar) -}}
{{- $bad = append $bad "policy: is either text or in an existingConfigMap" -}}
{{- end -}}
{{- if not (or $v.policy.existingConfigMap $v.policy.text) -}}
{{- $bad = append $bad "policy.text: a home needs a policy; try --set-file policy.text=policy.yaml" -}}
{{- end -}}
{{- if and $v.policy.existingConfigMap (not $v.policy.live) -}}
{{- $bad = append $bad "policy.live: false rolls the pods when the policy changes, which the chart cannot see of an existingConfigMap" -}}
{{- end -}}
{{- if ne (empty $v.policy.readers) (empty $v.policy.cedar) -}}
{{- $bad = append $bad "policy: readers and cedar go together" -}}
{{- end -}}
{{- if gt (len (include "situs.policyData" .)) 1000000 -}}
{{- $bad = append $bad "policy: with its files it is larger than a ConfigMap may be (1 MB)" -}}
{{- end -}}
{{- $pipelines := include "situs.pipelines" . | fromJsonArray -}}
{{- if not $pipelines -}}
{{- $bad = append $bad "pipelines: there are none; take the shipped ones or name some in extra" -}}
{{- end -}}
{{- range $v.pipelines.enabled -}}
{{- if not (has . $pipelines) -}}
{{- $bad = append $bad (printf "pipelines.enabled: there is no pipeline %q; there are: %s" . (join ", " $pipelines)) -}}
{{- end -}}
{{- end -}}

{{/* Memory and time. */}}
{{- with $v.resources.limits -}}
{{- if .memory -}}
{{- $need := add (include "situs.bytes" ($v.site.memory | default "512MiB") | int64) (mul 300 1048576) -}}
{{- $upkeep := dig "maintenance" "optimize" true $v.site -}}
{{- if and $upkeep (not $v.maintenance.schedule) -}}
{{- $sort := dig "maintenance" "sort-memory" "128MiB" $v.site -}}
{{- $need = add $need (include "situs.bytes" $sort | int64) (mul 64 1048576) -}}
{{- end -}}
{{- if lt (include "situs.bytes" .memory | int64) $need -}}
{{- $bad = append $bad (printf "resources.limits.memory: %s is less than the %dMi that site.memory of %v needs" (toString .memory) (div (add $need 1048575) 1048576) ($v.site.memory | default "512MiB")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "invalid" $v.termination.gracePeriodSeconds) -}}
{{- if lt (int64 $v.termination.gracePeriodSeconds) (include "situs.grace" . | int64) -}}
{{- $bad = append $bad (printf "termination.gracePeriodSeconds: %v is less than %s, the sum of site.drain-timeout, preStopSeconds and marginSeconds: pods would be killed while they drain" $v.termination.gracePeriodSeconds (include "situs.grace" .)) -}}
{{- end -}}
{{- end -}}
{{- if $v.maintenance.schedule -}}
{{- range $key := list "optimize" "vacuum" -}}
{{- if dig "maintenance" $key false $v.site -}}
{{- $bad = append $bad (printf "site.maintenance.%s: is what the CronJob of maintenance.schedule does" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What may be reached, and how many there are. */}}
{{- if $v.networkPolicy.enabled -}}
{{- if not $v.networkPolicy.brokers -}}
{{- $bad = append $bad "networkPolicy.brokers: name the brokers that pods may reach ({ cidr } or { namespaceSelector, podSelector }), or they reach none" -}}
{{- end -}}
{{- $open := list -}}
{{- $any := false -}}
{{- range $v.networkPolicy.brokers -}}
{{- if .ports }}{{ range .ports }}{{ $open = append $open (toString (int64 .)) }}{{ end }}{{ else }}{{ $any = true }}{{ end -}}
{{- end -}}
{{- if and $open (not $any) -}}
{{- range $k.brokers -}}
{{- if not (has (regexFind "[0-9]+$" .) $open) -}}
{{- $bad = append $bad (printf "networkPolicy.brokers: no port of %s is open (%s)" . (join ", " $open)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $a := $v.autoscaling -}}
{{- if ne $a.kind "none" -}}
{{- if gt (int $a.minReplicas) (int $a.maxReplicas) -}}
{{- $bad = append $bad (printf "autoscaling: minReplicas %v is more than maxReplicas %v" $a.minReplicas $a.maxReplicas) -}}
{{- end -}}
{{- if and (eq $a.kind "keda-prometheus") (not $a.serverAddress) -}}
{{- $bad = append $bad "autoscaling.serverAddress: keda-prometheus needs the address of Prometheus" -}}
{{- end -}}
{{- if and (eq $a.kind "keda-kafka") (or $k.tls.enabled $k.sasl.mechanism) (not $a.authenticationRef) -}}
{{- $bad = append $bad "autoscaling.authenticationRef: the brokers want TLS or SASL, of KEDA too; name a TriggerAuthentication" -}}
{{- end -}}
{{- end -}}

{{- if $bad -}}
{{- fail (printf "\n\n%d of these values cannot be:\n  - %s\n" (len $bad) (join "\n  - " $bad)) -}}
{{- end -}}
{{- end -}}
