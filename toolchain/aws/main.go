package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"unicode"

	"github.com/hashicorp/terraform-provider-aws/xpprovider"
	pftfbridge "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/x/muxer"
	"github.com/pulumi/pulumi-terraform-bridge/v3/unstable/metadata"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/archive"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

const version = "7.48.0"

// The resources that this project uses: Terraform name -> Pulumi module/Type. Another one needs its line here and, where
// its service is new, a name in scripts/setup/trimAws.ts.
var resources = map[string]string{
	"aws_db_instance":                                    "rds/Instance",
	"aws_db_parameter_group":                             "rds/ParameterGroup",
	"aws_db_subnet_group":                                "rds/SubnetGroup",
	"aws_db_proxy":                                       "rds/Proxy",
	"aws_db_proxy_default_target_group":                  "rds/ProxyDefaultTargetGroup",
	"aws_db_proxy_target":                                "rds/ProxyTarget",
	"aws_rds_cluster":                                    "rds/Cluster",
	"aws_rds_cluster_instance":                           "rds/ClusterInstance",
	"aws_db_event_subscription":                          "rds/EventSubscription",
	"aws_db_instance_automated_backups_replication":      "rds/InstanceAutomatedBackupsReplication",
	"aws_elasticache_replication_group":                  "elasticache/ReplicationGroup",
	"aws_elasticache_parameter_group":                    "elasticache/ParameterGroup",
	"aws_elasticache_subnet_group":                       "elasticache/SubnetGroup",
	"aws_elasticache_cluster":                            "elasticache/Cluster",
	"aws_elasticache_user":                               "elasticache/User",
	"aws_elasticache_user_group":                         "elasticache/UserGroup",
	"aws_vpc":                                            "ec2/Vpc",
	"aws_subnet":                                         "ec2/Subnet",
	"aws_security_group":                                 "ec2/SecurityGroup",
	"aws_security_group_rule":                            "ec2/SecurityGroupRule",
	"aws_internet_gateway":                               "ec2/InternetGateway",
	"aws_nat_gateway":                                    "ec2/NatGateway",
	"aws_eip":                                            "ec2/Eip",
	"aws_route_table":                                    "ec2/RouteTable",
	"aws_route":                                          "ec2/Route",
	"aws_route_table_association":                        "ec2/RouteTableAssociation",
	"aws_instance":                                       "ec2/Instance",
	"aws_launch_template":                                "ec2/LaunchTemplate",
	"aws_vpc_endpoint":                                   "ec2/VpcEndpoint",
	"aws_vpc_peering_connection":                         "ec2/VpcPeeringConnection",
	"aws_vpc_peering_connection_accepter":                "ec2/VpcPeeringConnectionAccepter",
	"aws_volume_attachment":                              "ec2/VolumeAttachment",
	"aws_network_interface":                              "ec2/NetworkInterface",
	"aws_placement_group":                                "ec2/PlacementGroup",
	"aws_ebs_volume":                                     "ebs/Volume",
	"aws_lb":                                             "lb/LoadBalancer",
	"aws_lb_listener":                                    "lb/Listener",
	"aws_lb_target_group":                                "lb/TargetGroup",
	"aws_lb_target_group_attachment":                     "lb/TargetGroupAttachment",
	"aws_autoscaling_group":                              "autoscaling/Group",
	"aws_autoscaling_policy":                             "autoscaling/Policy",
	"aws_cloudwatch_metric_alarm":                        "cloudwatch/MetricAlarm",
	"aws_cloudwatch_dashboard":                           "cloudwatch/Dashboard",
	"aws_cloudwatch_log_group":                           "cloudwatch/LogGroup",
	"aws_cloudwatch_log_metric_filter":                   "cloudwatch/LogMetricFilter",
	"aws_sns_topic":                                      "sns/Topic",
	"aws_sns_topic_policy":                               "sns/TopicPolicy",
	"aws_sns_topic_subscription":                         "sns/TopicSubscription",
	"aws_iam_role":                                       "iam/Role",
	"aws_iam_role_policy":                                "iam/RolePolicy",
	"aws_iam_role_policy_attachment":                     "iam/RolePolicyAttachment",
	"aws_iam_policy":                                     "iam/Policy",
	"aws_iam_instance_profile":                           "iam/InstanceProfile",
	"aws_kms_key":                                        "kms/Key",
	"aws_kms_alias":                                      "kms/Alias",
	"aws_kms_replica_key":                                "kms/ReplicaKey",
	"aws_secretsmanager_secret":                          "secretsmanager/Secret",
	"aws_secretsmanager_secret_version":                  "secretsmanager/SecretVersion",
	"aws_secretsmanager_secret_rotation":                 "secretsmanager/SecretRotation",
	"aws_ssm_parameter":                                  "ssm/Parameter",
	"aws_ssm_document":                                   "ssm/Document",
	"aws_ssm_association":                                "ssm/Association",
	"aws_s3_bucket":                                      "s3/Bucket",
	"aws_s3_bucket_versioning":                           "s3/BucketVersioning",
	"aws_backup_plan":                                    "backup/Plan",
	"aws_backup_selection":                               "backup/Selection",
	"aws_backup_vault":                                   "backup/Vault",
	"aws_route53_zone":                                   "route53/Zone",
	"aws_route53_record":                                 "route53/Record",
	"aws_ecs_cluster":                                    "ecs/Cluster",
	"aws_ecs_service":                                    "ecs/Service",
	"aws_ecs_task_definition":                            "ecs/TaskDefinition",
	"aws_appautoscaling_target":                          "appautoscaling/Target",
	"aws_appautoscaling_policy":                          "appautoscaling/Policy",
	"aws_service_discovery_private_dns_namespace":        "servicediscovery/PrivateDnsNamespace",
	"aws_service_discovery_service":                      "servicediscovery/Service",
	"aws_cloudwatch_event_rule":                          "cloudwatch/EventRule",
	"aws_cloudwatch_event_target":                        "cloudwatch/EventTarget",
	"aws_ecr_repository":                                 "ecr/Repository",
	"aws_lambda_function":                                "lambda/Function",
	"aws_lambda_permission":                              "lambda/Permission",
	"aws_ecr_lifecycle_policy":                           "ecr/LifecyclePolicy",
	"aws_cloudwatch_composite_alarm":                     "cloudwatch/CompositeAlarm",
	"aws_s3_bucket_public_access_block":                  "s3/BucketPublicAccessBlock",
	"aws_s3_bucket_server_side_encryption_configuration": "s3/BucketServerSideEncryptionConfiguration",
	"aws_s3_bucket_lifecycle_configuration":              "s3/BucketLifecycleConfiguration",
	"aws_s3_bucket_policy":                               "s3/BucketPolicy",
	"aws_route53_health_check":                           "route53/HealthCheck",
	"aws_route53_zone_association":                       "route53/ZoneAssociation",
	"aws_vpc_peering_connection_options":                 "ec2/PeeringConnectionOptions",
	"aws_vpc_security_group_ingress_rule":                "vpc/SecurityGroupIngressRule",
	"aws_vpc_security_group_egress_rule":                 "vpc/SecurityGroupEgressRule",
}

var functions = map[string]string{
	"aws_ami":                 "ec2/getAmi",
	"aws_vpc":                 "ec2/getVpc",
	"aws_subnets":             "ec2/getSubnets",
	"aws_availability_zones":  "index/getAvailabilityZones",
	"aws_caller_identity":     "index/getCallerIdentity",
	"aws_region":              "index/getRegion",
	"aws_partition":           "index/getPartition",
	"aws_iam_policy_document": "iam/getPolicyDocument",
	"aws_ssm_parameter":       "ssm/getParameter",
}

// Properties that hold a document in JSON: Terraform's names of the resource and of the property.
var documents = map[string]string{
	"aws_ecr_lifecycle_policy": "policy",
	"aws_iam_policy":           "policy",
	"aws_iam_role":             "assume_role_policy",
	"aws_iam_role_policy":      "policy",
	"aws_s3_bucket":            "policy",
	"aws_s3_bucket_policy":     "policy",
	"aws_sns_topic_policy":     "policy",
}

func lower(s string) string { return string(unicode.ToLower(rune(s[0]))) + s[1:] }

func main() {
	ctx := context.Background()
	fw, sdk, err := xpprovider.GetProvider(ctx)
	if err != nil {
		panic(err)
	}
	info := tfbridge.ProviderInfo{
		P:            pftfbridge.MuxShimWithPF(ctx, shimv2.NewProvider(sdk), fw),
		Name:         "aws",
		Version:      version,
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		Config: map[string]*tfbridge.SchemaInfo{
			"region": {Default: &tfbridge.DefaultInfo{EnvVars: []string{"AWS_REGION", "AWS_DEFAULT_REGION"}}},
			// Text in Terraform, where it may be none at all.
			"skip_metadata_api_check": {Type: "boolean"},
		},
		Resources:   map[string]*tfbridge.ResourceInfo{},
		DataSources: map[string]*tfbridge.DataSourceInfo{},
	}
	for tf, name := range resources {
		mod, typ, _ := strings.Cut(name, "/")
		info.Resources[tf] = &tfbridge.ResourceInfo{Tok: tokens.Type("aws:" + mod + "/" + lower(typ) + ":" + typ)}
	}
	for tf, name := range functions {
		mod, fn, _ := strings.Cut(name, "/")
		info.DataSources[tf] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember("aws:" + mod + "/" + fn + ":" + fn)}
	}
	// Names and shapes that the official plugin overrides: ours must too, or the npm package's types do not fit.
	// test/integration/awsSchema.test.ts compares them.
	info.Resources["aws_elasticache_replication_group"].Fields = map[string]*tfbridge.SchemaInfo{
		"replication_group_id": tfbridge.AutoName("replicationGroupId", 40, "-"),
		// Text in Terraform, where it may be none at all.
		"at_rest_encryption_enabled": {Type: "boolean"},
		"auto_minor_version_upgrade": {Type: "boolean"},
	}
	info.Resources["aws_elasticache_user"].Fields = map[string]*tfbridge.SchemaInfo{
		"user_id": tfbridge.AutoName("userId", 40, "-"),
	}
	info.Resources["aws_cloudwatch_metric_alarm"].Fields = map[string]*tfbridge.SchemaInfo{
		"alarm_name": tfbridge.AutoName("name", 255, "-"),
	}
	info.Resources["aws_elasticache_cluster"].Fields = map[string]*tfbridge.SchemaInfo{
		"cluster_id": tfbridge.AutoName("clusterId", 50, "-"),
	}
	info.Resources["aws_security_group"].Fields = map[string]*tfbridge.SchemaInfo{
		"ingress": {Name: "ingress"},
		"egress":  {Name: "egress"},
	}
	info.Resources["aws_lb_target_group"].Fields = map[string]*tfbridge.SchemaInfo{
		// Text in Terraform, where it may be none at all.
		"deregistration_delay": {Type: "integer"},
	}
	info.Resources["aws_sns_topic_subscription"].Fields = map[string]*tfbridge.SchemaInfo{
		"topic_arn": {Name: "topic"},
	}
	info.Resources["aws_lambda_function"].Fields = map[string]*tfbridge.SchemaInfo{
		"function_name": tfbridge.AutoName("name", 64, "-"),
		"architectures": {Name: "architectures", MaxItemsOne: tfbridge.False()},
		"filename": {Name: "code", Asset: &tfbridge.AssetTranslation{
			Kind: tfbridge.FileArchive, Format: archive.ZIPArchive, HashField: "source_code_hash",
		}},
	}
	info.Resources["aws_lambda_permission"].Fields = map[string]*tfbridge.SchemaInfo{
		"function_name": {Name: "function"},
	}
	alias := map[string]*tfbridge.SchemaInfo{"client_alias": {Name: "clientAlias", MaxItemsOne: tfbridge.False()}}
	connected := map[string]*tfbridge.SchemaInfo{"service": {Elem: &tfbridge.SchemaInfo{Fields: alias}}}
	info.Resources["aws_ecs_service"].Fields = map[string]*tfbridge.SchemaInfo{
		"service_connect_configuration": {Elem: &tfbridge.SchemaInfo{Fields: connected}},
	}
	records := map[string]*tfbridge.SchemaInfo{"alias": {Name: "aliases", MaxItemsOne: tfbridge.False()}}
	for _, kind := range []string{"weighted", "latency", "failover", "geolocation"} {
		records[kind+"_routing_policy"] = &tfbridge.SchemaInfo{Name: kind + "RoutingPolicies", MaxItemsOne: tfbridge.False()}
	}
	info.Resources["aws_route53_record"].Fields = records
	// Where Terraform wants JSON as text, the npm package also takes the document itself.
	document := tokens.Type("aws:index/document:Document")
	info.ExtraTypes = map[string]schema.ComplexTypeSpec{
		string(document): {ObjectTypeSpec: schema.ObjectTypeSpec{Type: "object"}},
	}
	for tf, field := range documents {
		if info.Resources[tf].Fields == nil {
			info.Resources[tf].Fields = map[string]*tfbridge.SchemaInfo{}
		}
		info.Resources[tf].Fields[field] = &tfbridge.SchemaInfo{
			Type: "string", AltTypes: []tokens.Type{document}, Transform: tfbridge.TransformJSONDocument,
		}
	}
	info.P.ResourcesMap().Range(func(tf string, _ shim.Resource) bool {
		if _, ok := info.Resources[tf]; !ok {
			info.IgnoreMappings = append(info.IgnoreMappings, tf)
		}
		return true
	})
	info.P.DataSourcesMap().Range(func(tf string, _ shim.Resource) bool {
		if _, ok := info.DataSources[tf]; !ok {
			info.IgnoreMappings = append(info.IgnoreMappings, tf)
		}
		return true
	})
	info.IgnoreMappings = append(info.IgnoreMappings, "arn_build", "arn_parse", "trim_iam_role_path", "user_agent")
	info.SetAutonaming(255, "-")
	dispatch, err := info.P.(interface {
		ResolveDispatch(*tfbridge.ProviderInfo) (muxer.DispatchTable, error)
	}).ResolveDispatch(&info)
	if err != nil {
		panic(err)
	}
	if err := metadata.Set(info.GetMetadata(), "mux", dispatch); err != nil {
		panic(err)
	}
	sink := diag.DefaultSink(os.Stderr, os.Stderr, diag.FormatOptions{Color: colors.Never})
	spec, err := tfgen.GenerateSchema(info, sink)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		panic(err)
	}
	pftfbridge.MainWithMuxer(ctx, "aws", info, text)
}
