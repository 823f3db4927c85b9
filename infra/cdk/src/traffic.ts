import { Token } from 'aws-cdk-lib';
import type { IRestApi } from 'aws-cdk-lib/aws-apigateway';
import type { IHttpApi } from 'aws-cdk-lib/aws-apigatewayv2';
import type { ApplicationLoadBalancer, ApplicationTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';

/** What customers' requests come through to the function, and so whose metrics the alarms read. */
export class Traffic {
  /** Callers invoke the alias: events, queues, other functions, a function URL. */
  static lambda(): Traffic {
    return new Traffic('lambda', {}, true);
  }

  /**
   * A stage of a REST API.
   *
   * @param api the API, or its name
   * @param stage the name of the stage, for example `prod`: a text, since `api.deploymentStage.stageName` refers to the methods
   *   of the API, and so to the alias
   * @param route what of the stage is this function's, when it serves other functions too and has detailed metrics; without it
   *   the whole stage is counted, and its alarms do not roll back alone
   */
  static restApi(api: IRestApi | string, stage: string, route?: { readonly method: string; readonly resource: string }): Traffic {
    const name = typeof api === 'string' ? api : api.restApiName;
    const ofRoute: Record<string, string> = route === undefined ? {} : { Method: route.method, Resource: route.resource };
    const isIndependent = !Token.isUnresolved(name) && !Token.isUnresolved(stage);
    return new Traffic('rest-api', { ApiName: name, Stage: stage, ...ofRoute }, isIndependent);
  }

  /**
   * A stage of an HTTP API.
   *
   * @param api the API, or its id
   * @param stage the name of the stage
   * @param route the route that is this function's, for example `GET /cart/{id}`, when the stage serves other functions too and
   *   has detailed metrics; without it the whole stage is counted, and its alarms do not roll back alone
   */
  static httpApi(api: IHttpApi | string, stage = '$default', route?: string): Traffic {
    // An HTTP API does not refer to its routes and integrations; one that somebody else describes may.
    const isIndependent = typeof api !== 'string' || !Token.isUnresolved(api);
    const id = typeof api === 'string' ? api : api.apiId;
    const ofRoute: Record<string, string> = route === undefined ? {} : { Route: route };
    return new Traffic('http-api', { ApiId: id, Stage: stage, ...ofRoute }, isIndependent && !Token.isUnresolved(stage));
  }

  /**
   * A target group of an Application Load Balancer that holds the function.
   *
   * @param loadBalancer the load balancer, or the end of its ARN: `app/shop/50dc6c495c0c9188`
   * @param targetGroup the target group, or the end of its ARN: `targetgroup/checkout/73e2d6bc24d8a067`
   */
  static loadBalancer(loadBalancer: ApplicationLoadBalancer | string, targetGroup: ApplicationTargetGroup | string): Traffic {
    const balancer = typeof loadBalancer === 'string' ? loadBalancer : loadBalancer.loadBalancerFullName;
    const group = typeof targetGroup === 'string' ? targetGroup : targetGroup.targetGroupFullName;
    return new Traffic('load-balancer', { LoadBalancer: balancer, TargetGroup: group }, !Token.isUnresolved(group));
  }

  private constructor(
    /**
     * The template in `infra/protect`.
     *
     * @internal
     */
    readonly _kind: string,
    /**
     * Parameters of that template.
     *
     * @internal
     */
    readonly _parameters: Readonly<Record<string, string>>,
    /**
     * Whether the alias may wait for the alarms: not where they name something that may refer to the alias.
     *
     * @internal
     */
    readonly _aliasMayWait: boolean,
  ) {}
}
